// The unit and the user data that machines are started with: linted by what is here, and compared with the code.

import Foundation
import Testing

@Suite struct PackagingTests {
    private static let unitPath = "packaging/systemd/ocr-node.service"
    private static let userDataPath = "packaging/cloud-init/user-data.yaml"

    /// Exit code and everything that was said; nil when the program is not here.
    private static func run(_ program: String, _ arguments: [String], input: String = "") throws -> (Int32, String)? {
        let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
        guard let path = paths.map({ "\($0)/\(program)" }).first(where: FileManager.default.isExecutableFile) else {
            return nil
        }
        let process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        let (output, feed) = (Pipe(), Pipe())
        process.standardInput = feed
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try feed.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try feed.fileHandleForWriting.close()
        let said = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, said)
    }

    /// "Key=value" of the unit, in order, with its section: "[Service] Type".
    private static func settings() throws -> [(key: String, value: String)] {
        var section = ""
        return try SourceTree.text(unitPath).split(separator: "\n").compactMap { line in
            if line.hasPrefix("[") { section = "\(line) " }
            guard !line.hasPrefix("#"), let equals = line.firstIndex(of: "=") else { return nil }
            return (section + line[..<equals], String(line[line.index(after: equals)...]))
        }
    }

    @Test func `the unit drains on SIGTERM with more time than the default deadline, and starts again what failed`()
        throws
    {
        let settings = Dictionary(try Self.settings()) { first, _ in first }
        #expect(settings["[Service] KillSignal"] == "SIGTERM")
        #expect(settings["[Service] KillMode"] == "mixed")
        #expect(settings["[Service] Type"] == "exec")
        #expect(settings["[Service] Restart"] == "on-failure")
        let codes = Set((settings["[Service] RestartPreventExitStatus"] ?? "").split(separator: " "))
        #expect(codes == ["3", "64", "78"])
        let example = try SourceTree.text("cluster.conf.example")
        let deadline = try #require(example.firstMatch(of: #/# stop_deadline = "(\d+)s"/#).flatMap { Int($0.output.1) })
        let stop = try #require(settings["[Service] TimeoutStopSec"].flatMap { Int($0) })
        #expect(stop >= 2 * deadline)
        let start = try #require(settings["[Service] ExecStart"])
        #expect(start.contains(" start --config ") && start.hasSuffix(" --data-dir /var/lib/ocr"))
        #expect(settings["[Service] StateDirectory"] == "ocr")
    }

    @Test func `the unit takes nothing away that the workers' own confinement needs`() throws {
        let keys = Set(try Self.settings().map(\.key))
        for key in ["SystemCallFilter", "MemoryDenyWriteExecute", "RestrictAddressFamilies", "RootDirectory"] {
            #expect(!keys.contains("[Service] \(key)"), "\(key)")
        }
    }

    @Test func `systemd finds nothing wrong with the unit`() throws {
        let directory = NSTemporaryDirectory() + "unit-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // The binary and the user are of a machine where it is installed.
        let text = try SourceTree.text(Self.unitPath)
            .replacing("/usr/local/bin/node", with: "/bin/true")
            .replacing("User=ocr", with: "User=daemon").replacing("Group=ocr", with: "Group=daemon")
        let path = directory + "/ocr-node.service"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        guard let (status, said) = try Self.run("systemd-analyze", ["verify", path]) else { return }
        #expect(status == 0 && !said.contains("ocr-node.service:"), "\(said)")
    }

    @Test func `the user data is YAML of the keys that cloud-init knows, and its script is one`() throws {
        let text = try SourceTree.text(Self.userDataPath)
        #expect(text.hasPrefix("#cloud-config\n"))
        let check = """
            import sys, yaml
            data = yaml.safe_load(sys.stdin.read())
            known = {"package_update", "packages", "users", "write_files", "runcmd"}
            assert set(data) == known, set(data) ^ known
            for file in data["write_files"]:
                assert set(file) == {"path", "owner", "permissions", "content"}, file
                assert file["path"].startswith("/") and isinstance(file["permissions"], str), file
            assert all(isinstance(command, list) for command in data["runcmd"])
            script = {file["path"]: file["content"] for file in data["write_files"]}
            assert data["runcmd"][-1][0] in script
            for library in ["tesseract", "leptonica", "poppler-cpp"]:
                assert any(name.startswith("lib" + library) for name in data["packages"]), library
            for path, content in script.items():
                print(path + "\\0" + content, end="\\0")
            """
        guard let (status, said) = try Self.run("python3", ["-c", check], input: text) else { return }
        if said.contains("No module named 'yaml'") { return }
        try #require(status == 0, "\(said)")
        let parts = said.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
        let files = Dictionary(
            uniqueKeysWithValues: stride(from: 0, to: parts.count - 1, by: 2).map { (parts[$0], parts[$0 + 1]) })
        let configuration = try #require(files["/etc/ocr-cluster/cluster.conf"])
        #expect(configuration.contains("provider = \"auto\""))
        let script = try #require(files["/usr/local/sbin/ocr-node-setup"])
        #expect(try Self.run("sh", ["-n"], input: script).map { $0.0 } == 0)
        // A key in user data can be read by every process of the machine.
        #expect(!text.contains("BEGIN ") && !text.contains("aws_secret"))
    }

    @Test func `every setting of the cloud's table, and every notice, is explained`() throws {
        let text = try SourceTree.text("docs/preemption.md")
        for word in [
            "spot/instance-action", "target-lifecycle-state", "rebalance recommendation", "instance/preempted",
            "TERMINATE_ON_HOST_MAINTENANCE", "`Preempt`", "`Terminate`", "`Reboot`", "`Redeploy`", "`Freeze`", "`poll`",
            "`margin`", "drain_deadline", "cloud_notice",
        ] { #expect(text.contains(word), "\(word)") }
    }
}
