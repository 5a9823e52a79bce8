import ClusterModel
import Coordination
import Ledger
import Testing

/// Two cores that owe each other everything, over a network that the test carries by hand.
@Suite("Replication between two nodes")
struct ReplicationTests {
    final class Peer {
        let id: NodeID
        let ledger = InMemoryLedger()
        var core: Coordinator
        var outgoing: [CoordinatorEffect] = []

        init(_ id: NodeID, _ placement: Placement) throws {
            self.id = id
            core = Coordinator(
                configuration: CoordinatorConfiguration(node: id, slotCount: 1, seed: 3), placement: placement)
            try ledger.begin()
            _ = try ledger.merge(
                Batch(
                    id: World.batch, profile: .standard, language: "eng", version: 1, writer: id, createdSeconds: 0))
            try ledger.commit()
        }

        func step(_ inputs: CoordinatorInput...) throws {
            var effects: [CoordinatorEffect] = []
            try ledger.begin()
            for input in inputs { try core.handle(input, at: .origin, ledger: ledger, into: &effects) }
            try core.finishStep(at: .origin, ledger: ledger, into: &effects)
            try ledger.commit()
            outgoing += effects
        }

        func owed() throws -> Int {
            try ledger.begin()
            defer { ledger.rollback() }
            return try ledger.outboxCount(nil)
        }

        func record(_ number: Int) throws -> Record? {
            try ledger.begin()
            defer { ledger.rollback() }
            return try ledger.record(World.key(number))
        }
    }

    private func pair() throws -> (Peer, Peer) {
        let ids = [NodeID(Bits128(high: 1, low: 0)), NodeID(Bits128(high: 2, low: 0))]
        let placement = Placement(members: ids, alive: Set(ids), wantedReplicas: 2, layout: .standard)
        return (try Peer(ids[0], placement), try Peer(ids[1], placement))
    }

    /// Delivers until nothing moves; results are made by `first` and `second` alike. `loses` drops acknowledgements.
    private func settle(_ first: Peer, _ second: Peer, loses: Int = 0) throws {
        var lost = 0
        while !first.outgoing.isEmpty || !second.outgoing.isEmpty {
            for (sender, receiver) in [(first, second), (second, first)] {
                let effects = sender.outgoing
                sender.outgoing = []
                for effect in effects {
                    switch effect {
                    case .replicate(_, let copies): try receiver.step(.replicate(sender.id, copies))
                    case .acknowledge(_, let entries):
                        if lost < loses {
                            lost += 1
                            try receiver.step(.replicationFailed(sender.id))
                        } else {
                            try receiver.step(.acknowledged(sender.id, entries))
                        }
                    case .run(let slot, let assignment):
                        try sender.step(.finished(slot, assignment, .recognised(World.result())))
                    default: break
                    }
                }
            }
        }
    }

    @Test("both end with every record done, equal, and owing nothing", arguments: [0, 1, 5])
    func converges(lostAcknowledgements: Int) throws {
        let (first, second) = try pair()
        try first.step(.submit(RequestID(1), (0..<40).map { World.submission($0) }))
        try settle(first, second, loses: lostAcknowledgements)
        #expect(try first.owed() == 0)
        #expect(try second.owed() == 0)
        for number in 0..<40 {
            let mine = try first.record(number)
            #expect(mine?.outcome == .done)
            #expect(try second.record(number) == mine)
        }
    }

    @Test("an entry stays owed until the peer has acknowledged it")
    func owedUntilAcknowledged() throws {
        let (first, _) = try pair()
        try first.step(.submit(RequestID(1), [World.submission(1)]))
        #expect(try first.owed() == 1)
        try first.step(.replicationFailed(NodeID(Bits128(high: 2, low: 0))))
        #expect(try first.owed() == 1)
    }

    @Test("refuses copies that cannot be, and does not acknowledge them")
    func refusesInconsistent() throws {
        let (first, second) = try pair()
        var record = Record(key: World.key(1), specification: World.submission(1).specification)
        record.outcome = .done
        let copy = RecordCopy(
            entry: OutboxEntry(sequence: 1, key: record.key, target: second.id), record: record, result: nil)
        try second.step(.replicate(first.id, [copy]))
        #expect(try second.record(1) == nil)
        #expect(!second.outgoing.contains { if case .acknowledge = $0 { true } else { false } })
    }
}
