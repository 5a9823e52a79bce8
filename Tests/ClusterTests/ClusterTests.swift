// Five real nodes, each with a network of its own: who is seen alive, and who is not (DESIGN §5).
//
// What must never happen is read from the nodes' logs: a death that was declared and taken back between two looks at
// the status has happened all the same.

import Foundation
import Glibc
import Testing

@Suite(
    .serialized, .enabled(if: NetworkLab.isPossible, "needs root, ip and nft; the reason stands in the output"),
    .timeLimit(.minutes(10)))
struct ClusterTests {
    @Test func `a killed node is dead for all, and finds its cluster by memory though the seed is gone`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        #expect(cluster.everDead.isEmpty)
        try cluster[4].crash()
        try await cluster.eventually("n4 is dead for all") { await cluster.allSee([4], "dead") }
        #expect(cluster.everDead == ["n4"])
        try cluster[1].crash()
        try await cluster.eventually("the seed is dead for all") { await cluster.allSee([1], "dead") }
        try cluster[4].start()
        try await cluster.eventually("n4 is back") { await cluster.allSee([2, 3, 4, 5], "alive") }
        #expect(cluster.everDead == ["n1", "n4"])
    }

    @Test func `a node that is asked to end has left and is not dead, and a newcomer joins through another`()
        async throws
    {
        let cluster = try await LabCluster(nodes: 4, of: 5)
        let seed = try cluster[1]
        seed.signal(SIGTERM)
        try await cluster.eventually("the seed ends") { !seed.isRunning }
        #expect(seed.exitCode == 0)
        try await cluster.eventually("the seed has left") { await cluster.allSee([1], "left") }
        cluster.add(LabNode(5, in: cluster.lab))
        try cluster[5].start(through: [3])
        try await cluster.eventually("the newcomer is seen by all") { await cluster.allSee([2, 3, 4, 5], "alive") }
        #expect(cluster.everDead.isEmpty)
    }

    @Test func `a node that was paused for ten seconds comes back and convicts nobody`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        let paused = try cluster[3]
        paused.signal(SIGSTOP)
        // The ten seconds are the fault itself, not a wait for something.
        let end = ContinuousClock.now + .seconds(10)
        try await cluster.eventually("the pause is over and the others have noticed it") {
            let noticed = await cluster.allSee([3], "dead", observers: [1, 2, 4, 5])
            return noticed && ContinuousClock.now >= end
        }
        paused.signal(SIGCONT)
        try await cluster.eventually("all are alive again") { await cluster.allSee([1, 2, 3, 4, 5], "alive") }
        #expect(paused.convicted(of: cluster.names).isEmpty)
        #expect(cluster.everDead == ["n3"])
    }

    @Test func `the halves of a partition see each other dead, and agree after it has healed`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        try cluster.lab.partition([1, 2], [3, 4, 5])
        try await cluster.eventually("the halves have lost each other") {
            guard await cluster.allSee([3, 4, 5], "dead", observers: [1, 2]) else { return false }
            return await cluster.allSee([1, 2], "dead", observers: [3, 4, 5])
        }
        #expect(await cluster.allSee([1, 2], "alive", observers: [1, 2]))
        #expect(await cluster.allSee([3, 4, 5], "alive", observers: [3, 4, 5]))
        try cluster.lab.heal()
        try await cluster.eventually("all see each other alive") { await cluster.allSee([1, 2, 3, 4, 5], "alive") }
    }

    @Test func `with a fifth of all packets lost for 30 s nobody is declared dead`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        try cluster.lab.lose(percent: 20)
        try await cluster.nobodyDies(forSeconds: 30)
        try cluster.lab.heal()
        try await cluster.eventually("all are alive") { await cluster.allSee([1, 2, 3, 4, 5], "alive") }
        #expect(cluster.everDead.isEmpty)
    }

    @Test func `nobody dies of a way that is open in one direction only`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        try cluster.lab.cut(from: 1, to: 2)
        try await cluster.nobodyDies(forSeconds: 15)
        try await cluster.eventually("all are alive, the way still cut") {
            await cluster.allSee([1, 2, 3, 4, 5], "alive")
        }
        #expect(cluster.everDead.isEmpty)
    }

    @Test func `a node that only TCP reaches is alive and said to have its datagrams blocked`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        try cluster.lab.blockDatagrams(around: 5)
        try await cluster.eventually("the others say that n5's datagrams are blocked") {
            await cluster.allSee([5], observers: [1, 2, 3, 4]) { $0.state == "alive" && $0.hasDatagramsBlocked }
        }
        try await cluster.eventually("n5 says so of the others") {
            await cluster.allSee([1, 2, 3, 4], observers: [5]) { $0.state == "alive" && $0.hasDatagramsBlocked }
        }
        #expect(await cluster.allSee([1, 2, 3, 4], observers: [1, 2, 3, 4]) { !$0.hasDatagramsBlocked })
        try cluster.lab.heal()
        try await cluster.eventually("nothing is blocked any more") {
            await cluster.allSee([1, 2, 3, 4, 5]) { $0.state == "alive" && !$0.hasDatagramsBlocked }
        }
        #expect(cluster.everDead.isEmpty)
    }

    @Test func `with all cores busy nobody is declared dead`() async throws {
        let cluster = try await LabCluster(nodes: 5)
        let seconds = Places.isLong ? 300 : 45
        let cores = ProcessInfo.processInfo.activeProcessorCount
        let loops = try BusyLoops(4 * cores, seconds: seconds + 60, in: cluster.lab)
        try await cluster.nobodyDies(forSeconds: Double(seconds))
        #expect(loops.areRunning)
        loops.end()
        try await cluster.eventually("all are alive") { await cluster.allSee([1, 2, 3, 4, 5], "alive") }
        #expect(cluster.everDead.isEmpty)
    }
}
