// Files as they are found on a machine: missing, strange, hostile.

import ClusterModel
import ClusterConfiguration
import Foundation
import Testing

@Suite struct FileTests {
    private static func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "configuration-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    @Test func `a flag beats the environment, which beats the usual places`() throws {
        try Self.withDirectory { directory in
            let first = directory.appending(path: "first.conf").path
            let second = directory.appending(path: "second.conf").path
            let usual = [first, second]
            func locate(_ flag: String?, _ environment: [String: String]) -> String? {
                NodeConfiguration.locate(flag: flag, environment: environment, standardPaths: usual)
            }
            #expect(locate(nil, [:]) == nil)
            try Data().write(to: URL(filePath: second))
            #expect(locate(nil, [:]) == second)
            try Data().write(to: URL(filePath: first))
            #expect(locate(nil, [:]) == first)
            #expect(locate(nil, ["NODE_CONFIG": ""]) == first)
            #expect(locate(nil, ["NODE_CONFIG": "named"]) == "named")
            #expect(locate("flag", ["NODE_CONFIG": "named"]) == "flag")
        }
        #expect(NodeConfiguration.standardPaths == ["./cluster.conf", "/etc/ocr-cluster/cluster.conf"])
    }

    @Test func `the data directory comes from the flag, the environment or the file, in this order`() throws {
        let configuration = try NodeConfiguration.parse(bytes: Array("data_dir = \"file\"".utf8), path: "x")
        #expect(configuration.dataDirectory(flag: nil, environment: [:]) == "file")
        #expect(configuration.dataDirectory(flag: nil, environment: ["NODE_DATA_DIR": "named"]) == "named")
        #expect(configuration.dataDirectory(flag: "flag", environment: ["NODE_DATA_DIR": "named"]) == "flag")
        #expect(NodeConfiguration().dataDirectory(flag: nil, environment: ["NODE_DATA_DIR": ""]) == "./node-data")
    }

    @Test func `no file gives the defaults, and a file that was named must be readable`() throws {
        #expect(try NodeConfiguration.load(path: nil) == NodeConfiguration())
        try Self.withDirectory { directory in
            let missing = directory.appending(path: "missing.conf").path
            #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(path: missing) }
            #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(path: directory.path) }
            let fifo = directory.appending(path: "fifo").path
            #expect(mkfifo(fifo, 0o600) == 0)
            #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(path: fifo) }
            let good = directory.appending(path: "good.conf")
            try Data("name = \"n\"\n".utf8).write(to: good)
            #expect(try NodeConfiguration.load(path: good.path).name == "n")
            let large = directory.appending(path: "large.conf")
            try Data(repeating: 10, count: NodeConfiguration.fileByteCount + 1).write(to: large)
            #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(path: large.path) }
        }
        #expect(ConfigurationError.exitCode == 78)
    }

    @Test(arguments: [
        "= 1", "[", "[work", "[work]\nworkers", "[work]\nworkers =", "name = \"open", "name = '''open", "x = [[[[",
        "\\", "\"\"\"", "a.b.c", "name = \"\\u0000\" \n name = 3", "[work]\n[work]", "name = \"a\"\nname = \"b\"",
        "work = 1\n[work.x]", "[limits]\nmax_pixels = 99999999999999999999", "x = 1979-05-27T07:32:00Z", "\u{FEFF}[",
        "\"a\\u0000b\" = 1", "[work]\n\"a\\u0000b\" = 1", "\"\" = 1", "[\"\"]", "x = nan", "x = {}", "'",
    ])
    func `a malformed document is an error`(text: String) {
        #expect(refusal(text) != nil)
    }

    @Test func `a syntax error names its line`() {
        #expect(refusal("\n\nname = \"open\n")?.line == 3)
        #expect(refusal("[work]\nworkers = 1\nworkers = 2\n")?.line == 3)
    }

    @Test func `bytes that are no text are an error that names the file`() {
        for bytes: [UInt8] in [[0xFF, 0xFE], [0x6E, 0x00, 0x3D], [0xC0, 0x80], [0xED, 0xA0, 0x80]] {
            #expect(throws: ConfigurationError.self) { try NodeConfiguration.parse(bytes: bytes, path: "x") }
        }
    }

    @Test func `the deepest document that the limits allow is an error, not a crash`() {
        let dots = String(repeating: "a.", count: NodeConfiguration.lineByteCount / 2 - 3) + "a"
        #expect(refusal("\(dots)=1") != nil)
        #expect(refusal("[\(dots)]\n\(dots)=(") != nil)
        #expect(refusal(String(repeating: "x", count: NodeConfiguration.lineByteCount + 1))?.line == 1)
        #expect(refusal("x = " + String(repeating: "[\n", count: 100_000)) != nil)
    }

    @Test func `documents damaged at random never trap`() throws {
        let seed = """
            data_dir = "/srv/ocr" # c
            work = { workers = 4, retry_backoff = "5s" }
            [limits]
            max_pixels = 5_000_000
            'page_timeout' = \"\"\"
            180s\"\"\"
            [ocr]
            language = 'deu+eng'
            dpi = 300
            """
        var generator = SeededGenerator(seed: 7)
        let marks = Array("[]{}=\"'.#\\\n,x0\u{7F}\u{00E4}".utf8)
        for _ in 0..<2_000 {
            var bytes = Array(seed.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes.remove(at: place)
                case 1: bytes.insert(marks[Int.random(in: 0..<marks.count, using: &generator)], at: place)
                default: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            do {
                _ = try NodeConfiguration.parse(bytes: bytes, path: "cluster.conf")
            } catch {
                #expect(error.message.hasPrefix("cluster.conf"))
                #expect(!error.message.utf8.contains { $0 < 32 && $0 != 10 }, "\(error.message)")
            }
        }
    }
}
