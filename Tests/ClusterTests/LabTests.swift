// The lab itself, with plain sockets: a cluster that survives a cut proves nothing if the cut lets through.

import Foundation
import Testing

@Suite(
    .serialized, .enabled(if: NetworkLab.isPossible, "needs root, ip and nft; the reason stands in the output"),
    .timeLimit(.minutes(2)))
struct LabTests {
    private static let port: UInt16 = 7400

    /// A socket for datagrams at each node.
    private func sockets(_ lab: NetworkLab) throws -> [Int: LabSocket] {
        try Dictionary(
            uniqueKeysWithValues: lab.numbers.map { ($0, try LabSocket(.datagram, in: lab, node: $0, port: Self.port)) }
        )
    }

    /// Whether a datagram passes. That one did not is known when a later one by an open way has come.
    private func passes(
        _ sockets: [Int: LabSocket], from sender: Int, to receiver: Int, witness: Int
    ) throws -> Bool {
        let (target, address) = (try #require(sockets[receiver]), NetworkLab.address(receiver))
        sockets[sender]?.send("question", to: address, port: Self.port)
        if let got = target.receive(withinMs: 200) { return got == "question" }
        sockets[witness]?.send("witness", to: address, port: Self.port)
        #expect(target.receive(withinMs: 10_000) == "witness", "the lab's open ways are open")
        return false
    }

    @Test func `a node reaches the others and nothing else`() throws {
        let lab = try NetworkLab(nodes: 3)
        let sockets = try sockets(lab)
        for (sender, receiver) in [(1, 2), (2, 1), (3, 1), (2, 3)] {
            #expect(try passes(sockets, from: sender, to: receiver, witness: receiver))
        }
        let outside = try LabSocket(.stream, in: lab, node: 1, port: 0)
        #expect(!outside.connect(to: "192.0.2.1", port: 80, withinMs: 100))
        #expect(throws: Never.self) {
            try NetworkLab.shell(
                "[ -z \"$(ip -n \(lab.namespace(1)) route show default)\" ] && ! ip link show port1")
        }
    }

    @Test func `a partition parts the groups in both directions, and healing joins them`() throws {
        let lab = try NetworkLab(nodes: 4)
        let sockets = try sockets(lab)
        try lab.partition([1, 2], [3, 4])
        #expect(try !passes(sockets, from: 1, to: 3, witness: 4))
        #expect(try !passes(sockets, from: 4, to: 2, witness: 1))
        #expect(try passes(sockets, from: 1, to: 2, witness: 2))
        #expect(try passes(sockets, from: 4, to: 3, witness: 3))
        try lab.heal()
        #expect(try passes(sockets, from: 1, to: 3, witness: 4))
        #expect(try passes(sockets, from: 4, to: 2, witness: 1))
    }

    @Test func `a one-way cut leaves the way back open`() throws {
        let lab = try NetworkLab(nodes: 3)
        let sockets = try sockets(lab)
        try lab.cut(from: 1, to: 2)
        #expect(try !passes(sockets, from: 1, to: 2, witness: 3))
        #expect(try passes(sockets, from: 2, to: 1, witness: 3))
        #expect(try passes(sockets, from: 1, to: 3, witness: 3))
    }

    @Test func `loss takes its share and no more`() throws {
        let lab = try NetworkLab(nodes: 2)
        let sockets = try sockets(lab)
        try lab.lose(percent: 20)
        let receiver = try #require(sockets[2])
        var arrived = 0
        // A few at a time: a full receive buffer would look like loss.
        for _ in 0..<50 {
            for _ in 0..<40 { sockets[1]?.send("x", to: lab.address(2), port: Self.port) }
            while receiver.receive(withinMs: 5) != nil { arrived += 1 }
        }
        // 2,000 drawn with 0.8: seven standard deviations on both sides.
        #expect((1_475...1_725).contains(arrived), "\(arrived) of 2000")
    }

    @Test func `with datagrams blocked around a node, streams reach it all the same`() throws {
        let lab = try NetworkLab(nodes: 3)
        let sockets = try sockets(lab)
        try lab.blockDatagrams(around: 3)
        #expect(try !passes(sockets, from: 3, to: 1, witness: 2))
        #expect(try !passes(sockets, from: 2, to: 3, witness: 3))
        for (client, server) in [(1, 3), (3, 2)] {
            let listener = try LabSocket(.stream, in: lab, node: server, port: Self.port, listens: true)
            let stream = try LabSocket(.stream, in: lab, node: client, port: 0)
            #expect(stream.connect(to: lab.address(server), port: Self.port, withinMs: 10_000))
            withExtendedLifetime(listener) {}
        }
    }

    @Test func `a closed lab leaves no process, no namespace and no file`() throws {
        let lab = try NetworkLab(nodes: 2)
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/bash")
        child.arguments = ["-c", "exec ip netns exec \(lab.namespace(2)) /bin/bash -c 'sleep 300 & sleep 300'"]
        child.environment = NetworkLab.environment
        try child.run()
        lab.close()
        child.waitUntilExit()
        #expect(child.terminationReason == .uncaughtSignal)
        for number in lab.numbers {
            #expect(!FileManager.default.fileExists(atPath: "/run/netns/" + lab.namespace(number)))
        }
        #expect(!FileManager.default.fileExists(atPath: lab.directory))
    }
}
