// Keys that several machines need: seeds, the key, the timing of membership.

import ClusterModel
import ClusterConfiguration
import Testing

@Suite struct ClusterKeysTests {
    private func parsed(_ text: String) throws -> NodeConfiguration {
        try NodeConfiguration.parse(bytes: Array(text.utf8), path: "cluster.conf")
    }

    @Test func `seeds, key, zone and membership are taken`() throws {
        let configuration = try parsed(
            """
            zone = "rack-1"
            [cluster]
            seeds = [ "10.0.0.1", # the first
                "scan-2.example.org:7401", '[2001:db8::7]', "[::1]:7400", ]
            key = "/etc/ocr-cluster/cluster.key"
            [membership]
            probe_interval = "2s"
            probe_timeout = "800ms"
            suspicion_min_factor = 2
            suspicion_max_factor = 4.5
            confirmations = 0
            forget_after = "1h"
            """)
        #expect(configuration.zone == "rack-1")
        #expect(
            configuration.cluster.seeds == [
                "10.0.0.1", "scan-2.example.org:7401", "[2001:db8::7]", "[::1]:7400",
            ])
        #expect(configuration.cluster.keyFile == "/etc/ocr-cluster/cluster.key")
        #expect(configuration.membership.probeInterval == .seconds(2))
        #expect(configuration.membership.probeTimeout == .milliseconds(800))
        #expect(configuration.membership.suspicionMinimumFactor == 2)
        #expect(configuration.membership.suspicionMaximumFactor == 4.5)
        #expect(configuration.membership.confirmations == 0)
        #expect(configuration.membership.forgetAfter == .seconds(3_600))
        #expect(configuration.membership.gossipFanout == 3)
    }

    @Test(arguments: [
        "", "a b", "host:", ":7400", "host:0", "host:65536", "host:x", "10.1", "[10.0.0.1]", "[]", "[::1", "[host]",
        "[::1]7400", "[fe80::1%eth0]", "a/b", "tcp://host:7400", "a:b:1",
    ])
    func `a text that is no seed is refused, and its element is named`(text: String) {
        let error = refusal("[cluster]\nseeds = [\n  \"good\", # one\n  \"\(text)\",\n]")
        #expect(error?.line == 4)
        #expect(error?.key == "[cluster] seeds")
        #expect(error?.problem == "element 2 is \"\(text)\"")
        #expect(error?.expected == "\"HOST\" or \"HOST:PORT\" (an IPv6 address in brackets)")
    }

    @Test(arguments: [
        (
            "[cluster]\nseeds = \"a\"",
            "cluster.conf:2: [cluster] seeds: is a text; expected an array of at most 64 texts, each \"HOST\" or "
                + "\"HOST:PORT\" (an IPv6 address in brackets)"
        ),
        (
            "cluster.seeds = [\"a\",\n\n[\"x,y\"], 7]",
            "cluster.conf:3: [cluster] seeds: element 2 is an array; expected \"HOST\" or \"HOST:PORT\" (an IPv6 address "
                + "in brackets)"
        ),
        (
            "cluster = { seeds = [3] }",
            "cluster.conf:1: [cluster] seeds: element 1 is an integer; expected \"HOST\" or "
                + "\"HOST:PORT\" (an IPv6 address in brackets)"
        ),
        (
            "[membership]\nsuspicion_min_factor = \"2\"",
            "cluster.conf:2: [membership] suspicion_min_factor: is a text; expected a number, 0.5...100.0"
        ),
        (
            "[membership]\nsuspicion_min_factor = 0.1",
            "cluster.conf:2: [membership] suspicion_min_factor: is 0.1; expected 0.5...100.0"
        ),
        (
            "[membership]\nsuspicion_max_factor = nan",
            "cluster.conf:2: [membership] suspicion_max_factor: is nan; expected 1.0...100.0"
        ),
        (
            "[membership]\n\nprobe_timeout = \"1s\"",
            "cluster.conf:3: [membership] probe_timeout: is \"1s\"; expected less than probe_interval (\"1s\")"
        ),
        (
            "[membership]\n\nprobe_interval = \"200ms\"",
            "cluster.conf:3: [membership] probe_timeout: is \"500ms\"; expected less than probe_interval (\"200ms\")"
        ),
        (
            "[membership]\ngossip_interval = \"2s\"",
            "cluster.conf:2: [membership] gossip_interval: is \"2s\"; expected at most probe_interval (\"1s\")"
        ),
        (
            "[membership]\nprobe_interval = \"5s\"",
            "cluster.conf:2: [membership] pause_guard: is \"5s\"; expected more than probe_interval (\"5s\")"
        ),
        (
            "[membership]\nreconnect_interval = \"10m\"\nforget_after = \"2m\"",
            "cluster.conf:3: [membership] forget_after: is \"120s\"; expected more than reconnect_interval (\"600s\")"
        ),
        (
            "[membership]\nexchange_interval = \"10m\"\nforget_after = \"2m\"",
            "cluster.conf:3: [membership] forget_after: is \"120s\"; expected more than exchange_interval (\"600s\"): "
                + "who is forgotten earlier comes back"
        ),
    ])
    func `a wrong value is refused with its line and what was expected`(text: String, message: String) {
        #expect(refusal(text)?.message == message)
    }

    @Test func `more seeds than the limit are refused`() throws {
        let many = (0...Limits.seedCount).map { "\"h\($0)\"" }
        #expect(refusal("cluster.seeds = [\(many.joined(separator: ", "))]")?.problem == "has 65 elements")
        let most = try parsed("cluster.seeds = [\(many.dropLast().joined(separator: ", "))]")
        #expect(most.cluster.seeds.count == Limits.seedCount)
    }

    @Test func `port 0 is an address only where the system may choose`() {
        #expect(AddressText.isAddress("127.0.0.1:0", allowsAnyPort: true))
        #expect(!AddressText.isAddress("127.0.0.1:0"))
        #expect(!AddressText.isAddress("::1:7400"))
        #expect(AddressText.isSeed("2001:db8::7"))
    }

    @Test(arguments: ["x = [}", "x = [[1}]", "cluster.seeds = [\"a\",\n}]", "x = { a = [}] }", "x = {]", "x = ]"])
    func `a bracket that does not fit is an error, not a crash`(text: String) {
        #expect(refusal(text)?.problem == "a bracket that does not fit")
    }

    @Test func `arrays damaged at random never trap`() {
        let seed = "[cluster]\nseeds = [\"a\", '''b''', # c\n [1, {x = \"]\"}], \"d\\\"e\"]\nname = \"n\"\n"
        var generator = SeededGenerator(seed: 11)
        let marks = Array("[]{}=\"'.#\\\n,x0".utf8)
        for _ in 0..<5_000 {
            var bytes = Array(seed.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                if Bool.random(using: &generator) {
                    bytes.remove(at: place)
                } else {
                    bytes.insert(marks[Int.random(in: 0..<marks.count, using: &generator)], at: place)
                }
            }
            do {
                _ = try NodeConfiguration.parse(bytes: bytes, path: "cluster.conf")
            } catch {
                #expect(error.message.hasPrefix("cluster.conf"))
            }
        }
    }
}
