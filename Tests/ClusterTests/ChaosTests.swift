// Five real nodes that work while everything goes wrong that machines do (DESIGN §1: nothing is lost that somebody was
// told is safe). The verdict is that of scripts/check-export.py, which sees what the commands print and nothing else.

import Foundation
import Testing

@Suite(
    .serialized,
    .enabled(
        if: Places.isLong || ProcessInfo.processInfo.environment["OCR_CHAOS_SEED"] != nil,
        "takes minutes: make test-long"),
    .enabled(if: NetworkLab.isPossible, "needs root, ip and nft; the reason stands in the output"),
    .enabled("the corpus is not here") { Places.corpus != nil }, .timeLimit(.minutes(60)))
struct ChaosTests {
    private static let seed: UInt64 =
        ProcessInfo.processInfo.environment["OCR_CHAOS_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1 << 32)

    @Test func `nothing is lost and every text is right, whatever is killed, cut off, stopped, full and drained`()
        async throws
    {
        print("OCR_CHAOS_SEED=\(Self.seed)")
        let scale = Places.isLong ? ChaosScale.long : .short
        let plan = ChaosPlan(seed: Self.seed, scale)
        let pages = try LabImages.corpus(maximumSeconds: scale.pageSeconds)
        #expect(pages.count > 20)
        let cluster = try await LabCluster(nodes: 5, configuration: LabRun.configuration) { node in
            guard node.number == plan.crampedNode else { return }
            try NetworkLab.shell(
                "mkdir '\(node.dataDirectory)' && mount -t tmpfs -o size=64m cramped '\(node.dataDirectory)'")
        }
        let expected = try await LabRun.expectation(of: pages, for: cluster.lab)
        let batches = try (0..<scale.batches).map { number in
            try LabImages(
                pages, copies: number * scale.copies..<(number + 1) * scale.copies,
                in: cluster.lab.directory + "/images\(number)")
        }
        let work = LabRun(in: cluster.lab)
        try await work.submit(batches[0], as: "first", at: cluster[1], copies: 3)

        let chaos = ChaosRun(plan, scale, on: cluster, work: work, later: Array(batches.dropFirst()))
        do {
            try await chaos.run()
            let calm = ContinuousClock.now
            let first = try cluster[chaos.remaining[0]]
            try await work.wait(at: first, seconds: scale.patience)
            let seconds = (ContinuousClock.now - calm) / .seconds(1)
            let observers = Places.isLong ? chaos.remaining : Array(chaos.remaining.suffix(1))
            for observer in observers {
                print(try await work.check(at: cluster[observer], expected: expected), terminator: "")
            }
            print("all done \(seconds) s after the last fault; drain took \(chaos.drainSeconds ?? -1) s")
        } catch {
            let report = await cluster.report()
            throw LabError(
                description: "OCR_CHAOS_SEED=\(Self.seed): \(error)\n" + chaos.journal.joined(separator: "\n")
                    + "\n" + report)
        }
    }

    @Test func `files that only the submitting machine has are read through it, and wait for it while it is dead`()
        async throws
    {
        let pages = try LabImages.corpus(maximumSeconds: 0.3)
        let cluster = try await LabCluster(nodes: 3, configuration: LabRun.configuration) { node in
            let images = node.lab.directory + "/images"
            try FileManager.default.createDirectory(atPath: images, withIntermediateDirectories: true)
            if node.number != 1 { node.hiddenDirectories = [images] }
        }
        let expected = try await LabRun.expectation(of: pages, for: cluster.lab)
        let (origin, other) = try (cluster[1], cluster[2])
        let work = LabRun(in: cluster.lab)
        func images(_ copy: Int) throws -> LabImages {
            try LabImages(pages, copies: copy..<copy + 1, in: cluster.lab.directory + "/images/\(copy)")
        }

        // The origin takes no work itself: all of it is read through it.
        try await origin.expect(0, "pause")
        try await work.submit(images(0), as: "through", at: origin, copies: 3)
        try await work.wait(at: other, seconds: 120)
        let rows = try await other.expect(0, "export", "--batch", "through", "--format", "jsonl").lines
        #expect(rows.count == pages.count)
        #expect(Set(rows.compactMap { $0["node"] as? String }).isSubset(of: ["n2", "n3"]))

        try await origin.expect(0, "pause", "--cluster")
        try await work.submit(images(1), as: "waiting", at: origin, copies: 3)
        origin.crash()
        try await cluster.eventually("n1 is dead for all") { await cluster.allSee([1], "dead") }
        try await other.expect(0, "resume", "--cluster")
        try await cluster.eventually("all jobs say that their files are on n1, which cannot be reached") {
            let jobs = try await other.run("jobs", "--batch", "waiting", "--outcome", "pending", "--json").lines
            let reasons = jobs.compactMap { $0["reason"] as? String }
            return jobs.count == pages.count
                && reasons.count { $0.hasPrefix("source-unreachable") && $0.contains("n1") } == pages.count
        }
        try await cluster.eventually("the status counts them") {
            try await other.work("unreachable") == pages.count
        }
        try origin.start()
        try await work.wait(at: other, seconds: 120)
        print(try await work.check(at: other, expected: expected), terminator: "")
    }

    @Test func `the jobs of a crashed machine run elsewhere`() async throws {
        // One page takes longer than it takes to notice the crash.
        let pages = Array(try LabImages.corpus(maximumSeconds: 99).filter { $0.name.contains("honolulu") })
        try #require(pages.count == 1)
        // Each has a slot to spare, so that what the victim ran has a place to go.
        let cluster = try await LabCluster(nodes: 3, configuration: LabRun.configuration) { $0.workers = 2 }
        let images = try LabImages(pages, copies: 0..<2, in: cluster.lab.directory + "/images")
        let work = LabRun(in: cluster.lab)
        // Somewhere else than on the node that has the images.
        try await cluster[1].expect(0, "pause")
        try await work.submit(images, as: "slow", at: cluster[1], copies: 3)
        var (victim, orphans) = (0, Set<String>())
        try await cluster.eventually("another node than the one that was asked runs a page") {
            for number in [2, 3] where orphans.isEmpty {
                (victim, orphans) = (number, try await running(on: cluster[number]))
            }
            return !orphans.isEmpty
        }
        try await cluster[1].expect(0, "resume")
        try cluster[victim].crash()
        let crashed = ContinuousClock.now
        try await cluster.eventually("its page runs elsewhere", seconds: 60) {
            var now: Set<String> = []
            for node in cluster.running { now.formUnion(try await running(on: node)) }
            return orphans.isSubset(of: now)
        }
        print("crash to running elsewhere: \((ContinuousClock.now - crashed) / .seconds(1)) s")
    }

    /// Jobs that a node's workers have now.
    private func running(on node: LabNode) async throws -> Set<String> {
        let rows = try await node.status()["nodes"] as? [[String: Any]] ?? []
        let slots = rows.first { $0["name"] as? String == node.name }?["slots"] as? [[String: Any]] ?? []
        return Set(slots.compactMap { $0["job"] as? String })
    }
}
