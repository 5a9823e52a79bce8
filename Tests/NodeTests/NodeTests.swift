import ClusterModel
import Foundation
import Glibc
import ImageSources
import Testing

@Suite(.serialized)
struct NodeTests {
    private var samples: String { Places.repository + "/Samples" }

    @Test func `scans go in, text comes out, and the counts add up`() throws {
        let node = try RunningNode()
        let submitted = node.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s", "--json")
        #expect(submitted.exitCode == 0)
        #expect(submitted.json["new"] as? Int == 7)
        #expect(submitted.json["wanted_copies"] as? Int == 1)
        #expect(node.command("wait", "--batch", "s").exitCode == 0)
        let again = node.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s", "--json")
        #expect(again.json["new"] as? Int == 0)
        #expect(again.json["known"] as? Int == 7)

        let work = node.command("status", "--json").json["work"] as? [String: Any]
        #expect(work?["done"] as? Int == 7)
        #expect(work?["pending"] as? Int == 0)
        #expect(work?["complete"] as? Bool == true)
        let exported = node.command("export", "--batch", "s", "--format", "jsonl")
        #expect(exported.exitCode == 0)
        let sources = exported.lines.compactMap { $0["source"] as? String }
        #expect(sources == sources.sorted())
        #expect(sources.count == 7)
        let blank = exported.lines.first { ($0["source"] as? String)?.hasSuffix("zxx_blank.tif") == true }
        #expect(blank?["outcome"] as? String == "done")
        #expect(blank?["text"] as? String == "")
        #expect(blank?["blank"] as? Bool == true)
        #expect(node.command("search", "Ernst").output.contains("eng_keystone.png"))
        #expect(node.command("search", "nowhereatall").output.isEmpty)
    }

    @Test func `names of files are bytes and survive to the export`() throws {
        let node = try RunningNode()
        let folder = node.directory + "/scans"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let image = try #require(FileManager.default.contents(atPath: samples + "/deu_buelowstrasse.png"))
        let long = String(repeating: "l", count: 240) + ".png"
        let names: [[UInt8]] =
            [
                "with blank.png", "quote\"'.png", "-l eng; touch pwned.png", "new\nline.png", long, "ſß漢é.png",
            ].map { Array($0.utf8) } + [[0x6E, 0xFF, 0xFE, 0x2E, 0x70, 0x6E, 0x67]]
        for name in names {
            let path = (Array(folder.utf8) + [0x2F] + name + [0]).map { CChar(bitPattern: $0) }
            let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
            #expect(descriptor >= 0)
            image.withUnsafeBytes { _ = write(descriptor, $0.baseAddress, $0.count) }
            close(descriptor)
        }
        #expect(node.command("submit", folder, "--batch", "n", "--language", "deu").exitCode == 0)
        #expect(node.command("wait", "--batch", "n").exitCode == 0)
        let rows = node.rows("n")
        #expect(rows.count == names.count)
        #expect(rows.allSatisfy { $0["outcome"] as? String == "done" })
        let sources = Set(rows.compactMap { $0["source"] as? String })
        for name in names.dropLast() { #expect(sources.contains(folder + "/" + String(decoding: name, as: UTF8.self))) }
        #expect(sources.contains { $0.hasPrefix("file:///") && $0.hasSuffix("/n%FF%FE.png") })
    }

    @Test func `a language without a model is refused at submit, with the package that has it`() throws {
        let node = try RunningNode()
        let refused = node.command("submit", samples, "--batch", "x", "--language", "tlh")
        #expect(refused.exitCode == 3)
        #expect(refused.errors.contains("tesseract-ocr-tlh"))
        #expect(node.command("batches", "--json").json["batches"] == nil || node.rows("x").isEmpty)
    }

    @Test func `the log goes to the file that the configuration names`() throws {
        let file = NSTemporaryDirectory() + "node-log-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let node = try RunningNode(configuration: "[log]\nfile = \"\(file)\"\n")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(text.contains("is ready"))
        #expect(!node.log.contains("is ready"))
    }

    @Test func `SIGTERM ends the node in order, and a second start goes on`() throws {
        let node = try RunningNode()
        #expect(node.command("pause").exitCode == 0)
        _ = node.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s")
        #expect(node.end(SIGTERM) == 0)
        #expect(node.log.contains("has stopped"))
        try node.start()
        let paused = node.command("status", "--json").json["work"] as? [String: Any]
        #expect(paused?["pending"] as? Int == 7)
        #expect(node.command("resume").exitCode == 0)
        #expect(node.command("wait", "--batch", "s").exitCode == 0)
        #expect(node.end(SIGINT) == 0)
    }

    @Test func `after kill -9 at any moment nothing that was acknowledged is lost, and nothing done is done again`()
        throws
    {
        let node = try RunningNode(configuration: "[work]\nmax_interruptions = 1000\n")
        _ = node.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s")
        var done: [String: Int] = [:]
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<(Places.isLong ? 60 : 8) {
            let pause = Int32.random(in: 0...900, using: &generator)
            poll(nil, 0, pause)
            for row in node.rows("s") where row["outcome"] as? String == "done" {
                guard let job = row["job"] as? String, let attempts = row["attempts"] as? Int else { continue }
                if let before = done[job] { #expect(before == attempts, "done again") }
                done[job] = attempts
            }
            node.kill(SIGKILL)
            try node.start()
        }
        #expect(node.command("wait", "--batch", "s").exitCode == 0)
        let rows = node.rows("s")
        #expect(rows.count == 7)
        #expect(rows.allSatisfy { $0["outcome"] as? String == "done" })
    }

    @Test func `two nodes do not share a data directory`() throws {
        let node = try RunningNode()
        let second = node.command("start")
        #expect(second.exitCode == 3)
        #expect(second.errors.contains("\(node.processID)"))
        #expect(node.command("status").exitCode == 0)
    }

    @Test func `the admin socket is for its owner alone`() throws {
        let node = try RunningNode()
        let facts = try FileManager.default.attributesOfItem(atPath: node.dataDirectory + "/node.sock")
        #expect((facts[.posixPermissions] as? Int).map { $0 & 0o777 } == 0o600)
    }

    @Test func `a worker that is killed costs its job one attempt and the others nothing`() throws {
        let node = try RunningNode(workers: 2)
        _ = node.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s")
        var killed = false
        try node.wait("a worker is busy") {
            let nodes = node.command("status", "--json").json["nodes"] as? [[String: Any]]
            let slots = nodes?.first?["slots"] as? [[String: Any]] ?? []
            guard let busy = slots.first(where: { $0["state"] as? String == "busy" }), let pid = busy["pid"] as? Int
            else { return node.command("wait", "--batch", "s", "--timeout", "0s").exitCode == 0 }
            killed = Glibc.kill(Int32(pid), SIGKILL) == 0
            return killed
        }
        #expect(killed)
        #expect(node.command("wait", "--batch", "s").exitCode == 0)
        let rows = node.rows("s")
        #expect(rows.count == 7)
        #expect(rows.reduce(0) { $0 + (($1["attempts"] as? Int) ?? 0) } <= 8 + 1)
        #expect(node.log.contains("worker-killed"))
    }

    @Test func `a spooled file goes when its job has ended, and stays while it is pending`() throws {
        let node = try RunningNode()
        let source = samples + "/zxx_blank.tif"
        #expect(node.command("submit", source, "--batch", "ended").exitCode == 0)
        #expect(node.command("wait").exitCode == 0)
        #expect(node.command("pause").exitCode == 0)
        #expect(node.command("submit", source, "--batch", "pending").exitCode == 0)
        // As if other nodes had left them here before they went.
        let file = try FileSource.openFile(SourceReference(path: source), maximumBytes: .max).get().facts.fingerprint
        let copies = try ["ended", "pending"].map { batch in
            let job = try #require(node.command("jobs", "--batch", batch, "--json").lines.first?["job"] as? String)
            let path = node.dataDirectory + "/spool/\(job)-\(file.byteCount)-\(file.modifiedNanoseconds)"
            try FileManager.default.copyItem(atPath: source, toPath: path)
            return path
        }
        node.kill(SIGKILL)
        try node.start()
        try node.wait("the first copy goes", seconds: 30) { !FileManager.default.fileExists(atPath: copies[0]) }
        #expect(FileManager.default.fileExists(atPath: copies[1]))
        #expect(node.log.contains("1 spooled files are not needed any more"))
    }

    @Test func `drain is refused on the last node, --restart stops it cleanly`() throws {
        let node = try RunningNode()
        _ = node.command("submit", samples + "/deu_buelowstrasse.png", "--batch", "d", "--language", "deu")
        #expect(node.command("wait").exitCode == 0)
        let refused = node.command("drain")
        #expect(refused.exitCode == 3)
        #expect(refused.errors.contains("last node"))
        #expect(node.command("status").exitCode == 0)
        #expect(node.command("drain", "--restart").exitCode == 0)
        try node.wait("the node has gone") { node.command("status").exitCode == 69 }
    }

    @Test func `doctor says what is in force, and fails with the cure where a model is missing`() throws {
        let node = try RunningNode()
        let healthy = node.command("doctor", "--json")
        #expect(healthy.exitCode == 0, "\(healthy.output)")
        let findings = healthy.json["findings"] as? [[String: Any]] ?? []
        let sandbox = findings.first { $0["check"] as? String == "sandbox" }
        #expect(sandbox?["verdict"] as? String == "ok")
        try "[ocr]\nlanguage = \"tlh\"\n".write(
            toFile: node.directory + "/ill.conf", atomically: true, encoding: .utf8)
        let ill = node.command("doctor", "--config", node.directory + "/ill.conf")
        #expect(ill.exitCode == 1)
        #expect(ill.output.contains("tesseract-ocr-tlh"))
    }

    @Test func `keygen writes a secret file once`() throws {
        let node = try RunningNode()
        let path = node.directory + "/cluster.key"
        func keygen() throws -> Int32 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Places.binary)
            process.arguments = ["keygen", path]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
        #expect(try keygen() == 0)
        let first = try String(contentsOfFile: path, encoding: .utf8)
        #expect(first.count == 65)
        let facts = try FileManager.default.attributesOfItem(atPath: path)
        #expect((facts[.posixPermissions] as? Int).map { $0 & 0o777 } == 0o600)
        #expect(try keygen() == 3)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == first)
    }
}
