// What machines cost: as one node counts it, and as a cluster knows it when one of them is gone.

import ClusterModel
import Foundation
import Testing

@testable import NodeRuntime

@Suite struct CostBookTests {
    private let start = ContinuousClock.now
    private let node = NodeID(Bits128(high: 1, low: 1))
    private let other = NodeID(Bits128(high: 2, low: 2))

    private func directory() throws -> String {
        let path = NSTemporaryDirectory() + "costs-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    @Test func `a machine costs its price for the time that its node runs, over all its starts`() throws {
        let path = try directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = CostBook(node: node, perHour: MachineCost.micros(0.9), directory: path, startedAt: start)
        #expect(first.own(at: start).spent == 0)
        #expect(first.own(at: start + .seconds(7_200)) == MachineCost(perHour: 900_000, spent: 1_800_000))
        try first.save(at: start + .seconds(7_200))
        // Another price from the second start on; nothing for the time between them.
        let second = CostBook(node: node, perHour: MachineCost.micros(0.1), directory: path, startedAt: start)
        #expect(second.own(at: start + .seconds(3_600)) == MachineCost(perHour: 100_000, spent: 1_900_000))
    }

    @Test func `of what was said of a machine the greatest amount counts, and outlives it and this node`() throws {
        let path = try directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let book = CostBook(node: node, perHour: 0, directory: path, startedAt: start)
        book.note(MachineCost(perHour: 5, spent: 70), of: other)
        book.note(MachineCost(perHour: 9, spent: 60), of: other)
        // Others do not know better than the machine itself.
        book.note(MachineCost(perHour: 9, spent: 1_000), of: node)
        #expect(
            book.costs(at: start) == [
                node: MachineCost(perHour: 0, spent: 0), other: MachineCost(perHour: 5, spent: 70),
            ])
        try book.save(at: start)
        let again = CostBook(node: node, perHour: 0, directory: path, startedAt: start)
        #expect(again.costs(at: start)[other] == MachineCost(perHour: 5, spent: 70))
    }

    @Test func `a damaged file costs what it held, not the start`() throws {
        let path = try directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try "nonsense\n\(other) 5 70\n\(node) x 1\n".write(toFile: path + "/costs", atomically: true, encoding: .utf8)
        let book = CostBook(node: node, perHour: 0, directory: path, startedAt: start)
        #expect(book.costs(at: start)[other]?.spent == 70 && book.own(at: start).spent == 0)
    }

    @Test func `machines beyond the limit are not counted`() {
        let book = CostBook(node: node, perHour: 0, directory: nil, startedAt: start)
        for number in 0...UInt64(Limits.costMachineCount) {
            book.note(MachineCost(perHour: 1, spent: 1), of: NodeID(Bits128(high: 7, low: number)))
        }
        #expect(book.costs(at: start).count == Limits.costMachineCount + 1)
    }
}

@Suite struct CostTests {
    @Test func `a cluster knows what it costs, and what a machine that is gone has cost`() throws {
        let cluster = try RunningCluster()
        // Two dollars a second together.
        let a = try cluster.add("a", configuration: "cost_per_hour = 3600.0\n")
        let b = try cluster.add("b", configuration: "cost_per_hour = 3600.0\n")
        func work(_ node: RunningNode) -> [String: Any] {
            node.command("status", "--json").json["work"] as? [String: Any] ?? [:]
        }
        #expect(a.command("submit", Places.repository + "/Samples/eng_test.webp", "--batch", "s").exitCode == 0)
        #expect(a.command("wait", "--timeout", "120s").exitCode == 0)
        try a.wait("a knows the price of both", seconds: 60) { work(a)["cost_per_hour"] as? Double == 7_200 }
        let before = try #require(work(a)["cost_so_far"] as? Double)
        let rate = try #require(work(a)["images_per_dollar"] as? Double)
        #expect(before > 0 && rate > 0 && rate <= 1 / before)
        #expect(work(a)["cost_to_finish"] as? Double == 0)
        #expect(a.command("status").output.contains("$7,200 an hour"))
        let ofB = try #require(
            RunningCluster.members(b.command("status", "--json")).first { $0["name"] as? String == "b" }?["cost_so_far"]
                as? Double)
        #expect(ofB > 0)
        b.kill(SIGKILL)
        try a.wait("b is dead", seconds: 60) { RunningCluster.states(a)["b"] == "dead" }
        let after = work(a)
        #expect(after["cost_per_hour"] as? Double == 3_600)
        let own = try #require(
            RunningCluster.members(a.command("status", "--json")).first { $0["name"] as? String == "a" }?["cost_so_far"]
                as? Double)
        // What b had cost when it was last heard of is still in the sum.
        #expect(try #require(after["cost_so_far"] as? Double) >= before)
        #expect(try #require(work(a)["cost_so_far"] as? Double) - own >= ofB - 3)
        a.kill(SIGTERM)
        try a.start()
        #expect(try #require(work(a)["cost_so_far"] as? Double) >= before, "kept in the data directory")
    }

    @Test func `a node without a price says that costs are not known`() throws {
        let node = try RunningNode()
        let work = try #require(node.command("status", "--json").json["work"] as? [String: Any])
        for key in ["images_per_dollar", "cost_per_hour", "cost_so_far", "cost_to_finish"] {
            #expect(work[key] is NSNull, "\(key)")
        }
        #expect(!node.command("status").output.contains("$"))
    }
}
