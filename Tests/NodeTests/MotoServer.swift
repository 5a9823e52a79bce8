// A real implementation of the S3 API on loopback: moto's server (scripts/install-packages.sh test), filled by the `aws`
// command as an operator fills it. Nothing here asks any other host.

import Foundation
import Glibc
import Testing

final class MotoServer {
    let directory: String
    let port: UInt16
    private let process: Process
    /// For `aws` and for nodes.
    private(set) var environment: [String: String]

    var address: String { "http://127.0.0.1:\(port)" }

    /// Whether the two programs are there; tests that need them are skipped, and say so, where they are not.
    static let isInstalled = ["moto_server", "aws"].allSatisfy { find($0) != nil }

    private static func find(_ program: String) -> String? {
        let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        return (paths + [Places.repository + "/.build/moto/bin"]).map { "\($0)/\(program)" }
            .first { access($0, X_OK) == 0 }
    }

    /// - Parameter checksSignatures: requests are refused that are not signed by a user of the server.
    init(checksSignatures: Bool) throws {
        directory = NSTemporaryDirectory() + "moto-test-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        port = try Self.freePort()
        environment = [
            "AWS_ENDPOINT_URL": "http://127.0.0.1:\(port)", "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": directory + "/config", "AWS_SHARED_CREDENTIALS_FILE": directory + "/credentials",
        ]
        process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.find("moto_server")))
        process.arguments = ["-H", "127.0.0.1", "-p", "\(port)"]
        var variables = ProcessInfo.processInfo.environment
        // The user, its key and its policy are made before anything is checked.
        if checksSignatures { variables["INITIAL_NO_AUTH_ACTION_COUNT"] = "3" }
        process.environment = variables
        let log = directory + "/moto.log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        process.standardOutput = FileHandle(forWritingAtPath: log)
        process.standardError = FileHandle(forWritingAtPath: log)
        try process.run()
        try waitUntilItAnswers()
        if checksSignatures { try makeUser() }
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Ends the server; nothing listens at its port any more.
    func stop() {
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Each request that the server has answered: "GET /bucket/key HTTP/1.1".
    var requests: [String] {
        let log = (try? String(contentsOfFile: directory + "/moto.log", encoding: .utf8)) ?? ""
        return log.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
            return parts.count >= 3 && parts[1].hasSuffix("HTTP/1.1") ? String(parts[1]) : nil
        }
    }

    /// Runs the `aws` command; throws what it printed when it fails.
    @discardableResult
    func aws(_ words: String...) throws -> String {
        let command = Process()
        command.executableURL = URL(fileURLWithPath: try #require(Self.find("aws")))
        command.arguments = words
        command.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let name = directory + "/" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        _ = FileManager.default.createFile(atPath: name, contents: nil)
        command.standardOutput = FileHandle(forWritingAtPath: name)
        command.standardError = FileHandle(forWritingAtPath: name)
        try command.run()
        command.waitUntilExit()
        let output = String(decoding: FileManager.default.contents(atPath: name) ?? Data(), as: UTF8.self)
        guard command.terminationStatus == 0 else {
            throw TimedOut(description: "aws \(words.joined(separator: " ")): \(output)")
        }
        return output
    }

    private func makeUser() throws {
        try aws("iam", "create-user", "--user-name", "scanner")
        let key = try aws(
            "iam", "create-access-key", "--user-name", "scanner", "--query", "AccessKey.[AccessKeyId,SecretAccessKey]",
            "--output", "text")
        let parts = key.split(whereSeparator: \.isWhitespace).map(String.init)
        try #require(parts.count == 2)
        try aws(
            "iam", "put-user-policy", "--user-name", "scanner", "--policy-name", "all", "--policy-document",
            #"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#)
        environment["AWS_ACCESS_KEY_ID"] = parts[0]
        environment["AWS_SECRET_ACCESS_KEY"] = parts[1]
    }

    private func waitUntilItAnswers() throws {
        let end = Date(timeIntervalSinceNow: 120)
        while true {
            let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(connection) }
            var address = Self.loopback(port)
            let status = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if status == 0 { return }
            guard Date() < end, process.isRunning else { throw TimedOut(description: "moto_server does not start") }
            poll(nil, 0, 50)
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return address
    }

    private static func freePort() throws -> UInt16 {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(probe) }
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let found = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(probe, $0, length) == 0 && getsockname(probe, $0, &length) == 0
            }
        }
        try #require(found)
        return UInt16(bigEndian: address.sin_port)
    }
}
