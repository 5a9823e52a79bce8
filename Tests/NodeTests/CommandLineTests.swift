// Flags and what becomes of them, without a running node.

import ArgumentParser
import ClusterConfiguration
import Foundation
import Membership
import Results
import Testing
import Wire

@testable import node

@Suite struct CommandLineTests {
    private static let directory = "/data"

    private func place(
        _ arguments: [String], file: String = "", seeds: [String] = [], existing: Set<String> = []
    ) throws -> ClusterPlace {
        let configuration = try NodeConfiguration.parse(bytes: Array(file.utf8), path: "cluster.conf")
        return try RunOptions.parse(arguments).place(configuration, seeds: seeds, directory: Self.directory) {
            existing.contains($0)
        }
    }

    private func refusal(
        _ arguments: [String], file: String = "", seeds: [String] = [], existing: Set<String> = []
    ) -> CommandFailure? {
        do {
            _ = try place(arguments, file: file, seeds: seeds, existing: existing)
            return nil
        } catch {
            return error as? CommandFailure
        }
    }

    @Test func `the defaults of the file are those of the membership core`() {
        #expect(MembershipConfiguration(NodeConfiguration().membership) == MembershipConfiguration())
    }

    @Test func `every key of membership reaches the core`() throws {
        let lines = NodeConfiguration.keys.filter { $0.table == "membership" }.map { key in
            switch key.name {
            case "probe_interval": "probe_interval = \"2s\""
            case "probe_timeout": "probe_timeout = \"700ms\""
            case "suspicion_min_factor", "suspicion_max_factor": "\(key.name) = 7.5"
            case let name where key.defaultText.hasPrefix("\""):
                "\(name) = \"" + (name == "gossip_interval" ? "300ms" : name == "forget_after" ? "2h" : "9s") + "\""
            case let name: "\(name) = 7"
            }
        }
        let file = "[membership]\n" + lines.joined(separator: "\n")
        let changed = MembershipConfiguration(
            try NodeConfiguration.parse(bytes: Array(file.utf8), path: "cluster.conf").membership)
        let standard = Mirror(reflecting: MembershipConfiguration()).children.map { ($0.label, "\($0.value)") }
        let differing = zip(standard, Mirror(reflecting: changed).children).filter { $0.1 != "\($1.value)" }
        #expect(differing.count == lines.count)
    }

    @Test func `a flag beats the file`() throws {
        let file = """
            zone = "a"
            [cluster]
            seeds = ["10.0.0.1"]
            key = "/etc/one.key"
            [listen]
            address = "10.0.0.5:7400"
            advertise = "203.0.113.5:7400"
            """
        let existing: Set = ["/etc/one.key", "/etc/two.key"]
        #expect(
            try place([], file: file, existing: existing)
                == ClusterPlace(
                    seeds: ["10.0.0.1"], listen: "10.0.0.5:7400", advertise: "203.0.113.5:7400", zone: "a",
                    keyFile: "/etc/one.key"))
        let flags = [
            "--zone", "b", "--key", "/etc/two.key", "--listen", "[::]:7500", "--advertise", "198.51.100.1:7500",
        ]
        #expect(
            try place(flags, file: file, seeds: ["scan-9"], existing: existing)
                == ClusterPlace(
                    seeds: ["scan-9"], listen: "[::]:7500", advertise: "198.51.100.1:7500", zone: "b",
                    keyFile: "/etc/two.key"))
    }

    @Test func `a node that others can reach needs a key`() throws {
        let refused = refusal(["--listen", "0.0.0.0:7400"])
        #expect(refused?.exitCode == 78)
        #expect(refused?.hint.contains("node keygen /data/cluster.key") == true)
        #expect(try place(["--listen", "0.0.0.0:7400"], existing: ["/data/cluster.key"]).keyFile == nil)
        #expect(try place(["--listen", "0.0.0.0:7400"], existing: ["/data/cluster.keys"]).keyFile == nil)
        for listen in ["127.0.0.1:7400", "127.8.8.8:1", "[::1]:7400", "localhost:0"] {
            #expect(try place(["--listen", listen]).listen == listen)
        }
        for listen in ["[::]:7400", "10.0.0.1:7400", "scan-1:7400", "[fe80::1]:7400", "127.0.0.1.example:7400"] {
            #expect(refusal(["--listen", listen])?.exitCode == 78, "\(listen)")
        }
        #expect(try place([]).listen == nil)
    }

    @Test func `seeds need a key, except on loopback`() throws {
        #expect(refusal([], seeds: ["10.0.0.1"])?.exitCode == 78)
        #expect(refusal([], file: "cluster.seeds = [\"10.0.0.1\"]")?.exitCode == 78)
        #expect(try place(["--listen", "127.0.0.1:7401"], seeds: ["127.0.0.1"]).seeds == ["127.0.0.1"])
        #expect(try place([], seeds: ["10.0.0.1"], existing: ["/data/cluster.key"]).listen == nil)
    }

    @Test func `a key file that was named must be there`() {
        let refused = refusal(["--key", "/nowhere.key", "--listen", "127.0.0.1:7400"])
        #expect(refused?.exitCode == 78)
        #expect(refused?.message == "the key file /nowhere.key is not there")
    }

    @Test(arguments: [
        ["--listen", "7400"], ["--listen", "::1:7400"], ["--advertise", "10.0.0.1:0"], ["--advertise", "10.0.0.1"],
        ["--name", "two words"], ["--name", ""], ["--zone", "a/b"], ["--workers", "0"], ["--workers", "5000"],
    ])
    func `flags that make no sense are bad usage`(arguments: [String]) {
        #expect(throws: (any Error).self) { try RunOptions.parse(arguments) }
        do { _ = try RunOptions.parse(arguments) } catch { #expect(RunOptions.exitCode(for: error).rawValue == 64) }
    }

    @Test(arguments: [[], ["a b"], ["::x"], ["host:0"], ["good", "bad:"], (0...64).map { "h\($0)" }])
    func `join wants seeds`(arguments: [String]) {
        do {
            _ = try JoinCommand.parse(arguments)
            Issue.record("\(arguments) were taken")
        } catch {
            #expect(JoinCommand.exitCode(for: error).rawValue == 64)
        }
    }

    @Test func `join takes seeds and the flags of start`() throws {
        let join = try JoinCommand.parse([
            "10.0.0.1", "[2001:db8::7]:7401", "--timeout", "30s", "--name", "scan-2", "--detach", "--json",
        ])
        #expect(join.seeds == ["10.0.0.1", "[2001:db8::7]:7401"])
        #expect(join.timeout?.duration == .seconds(30))
        #expect(join.options.name == "scan-2" && join.options.detach)
    }

    @Test func `what was joined is said in one line`() {
        var response = Ocr_V1_JoinResponse()
        response.cluster = "ocr"
        response.through = "10.0.0.1:7400"
        response.members = 5
        #expect(JoinText.text(response) == "joined cluster ocr through 10.0.0.1:7400: 5 members")
        #expect(JoinText.json(response).line == #"{"cluster":"ocr","through":"10.0.0.1:7400","members":5}"#)
        response.members = 1
        #expect(JoinText.text(response).hasSuffix(": 1 member"))
    }
}

@Suite struct KeysReportTests {
    private func response(changed: UInt64, failures: [String] = []) -> Ocr_V1_KeysResponse {
        var response = Ocr_V1_KeysResponse()
        response.members = 3
        response.changed = changed
        let keys: [(String, UInt64, UInt64)] = [("5f0c21aa00000000", 3, 1), ("a1", 2, 2)]
        response.keys = keys.map { digest, accepted, used in
            var key = Ocr_V1_KeyState()
            key.digest = digest
            key.acceptedBy = accepted
            key.usedBy = used
            return key
        }
        response.failures = failures.map { name in
            var failure = Ocr_V1_KeyFailure()
            failure.node = name
            failure.reason = "does not answer"
            return failure
        }
        return response
    }

    @Test func `the table says how many members accept and use each key`() {
        #expect(
            KeysReport(response(changed: 3), verb: "send with key a1").lines == [
                "3 of 3 members now send with key a1", "KEY               ACCEPTED BY  USED BY",
                "5f0c21aa00000000  3 of 3       1 of 3", "a1                2 of 3       2 of 3",
            ])
        #expect(KeysReport(response(changed: 0), verb: nil).lines.count == 3)
    }

    @Test func `the exit code tells done, partly and not at all apart`() {
        #expect(KeysReport(response(changed: 3), verb: "x").exitCode == 0)
        #expect(KeysReport(response(changed: 2, failures: ["scan-3"]), verb: "x").exitCode == 2)
        #expect(KeysReport(response(changed: 0, failures: ["scan-3"]), verb: "x").exitCode == 3)
        #expect(KeysReport(response(changed: 0), verb: nil).exitCode == 0)
        #expect(KeysReport(response(changed: 0, failures: ["scan-3"]), verb: nil).exitCode == 2)
    }

    @Test func `failures are listed, and JSON has all of it`() {
        let report = KeysReport(response(changed: 2, failures: ["scan\u{1B}3"]), verb: "x")
        #expect(report.failureLines == ["scan\u{FFFD}3: does not answer"])
        #expect(
            report.json.line == #"{"keys":[{"digest":"5f0c21aa00000000","accepted_by":3,"used_by":1},"#
                + #"{"digest":"a1","accepted_by":2,"used_by":2}],"members":3,"changed":2,"#
                + #""failures":[{"node":"scan\u001b3","reason":"does not answer"}]}"#)
        #expect(KeysReport(response(changed: 0), verb: nil).json.line.contains(#""changed":null"#))
    }

    @Test(arguments: [
        ["use", "xyz"], ["use"], ["remove", ""], ["use", String(repeating: "0", count: 17)], ["add"], ["rotate"],
    ])
    func `arguments that make no sense are bad usage`(arguments: [String]) {
        do {
            _ = try KeysCommand.parseAsRoot(arguments)
            Issue.record("\(arguments) were taken")
        } catch {
            #expect(KeysCommand.exitCode(for: error).rawValue == 64)
        }
    }

    @Test func `a key is meant by a beginning of its digest`() throws {
        let use = try #require(try KeysCommand.parseAsRoot(["use", "5F0c", "--force", "--json"]) as? KeysUseCommand)
        #expect(use.target.digest == "5F0c" && use.target.force && use.options.json)
    }
}
