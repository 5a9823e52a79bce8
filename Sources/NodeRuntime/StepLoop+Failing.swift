// What the step loop does when the ledger cannot be written: a full disk, an I/O error (DESIGN §2; docs/coordination.md).
//
// The node neither accepts nor acknowledges anything any more, and goes on with what needs no commit: a core of its own
// compares, hands over and sends what is owed, in transactions that are rolled back. Every few seconds it is tried to
// write; when that works a new core takes up what the ledger holds.

internal import ClusterModel
internal import Coordination
import Foundation

extension StepLoop {
    private static let retryInterval = Duration.seconds(5)
    static let probeSetting = "write-probe"

    /// Whether a node can live on with this error, without writing.
    static func isEndurable(_ error: LedgerError) -> Bool {
        switch error.kind {
        case .diskFull, .ioError: true
        case .corrupt, .newerSchema, .locked, .invalid, .other: false
        }
    }

    /// Runs without writing until writing works again; returns false when the loop has to end.
    ///
    /// Throws what cannot be lived with.
    func endure(
        _ error: LedgerError, _ coordinator: inout Coordinator, _ parts: Parts
    ) throws(LedgerError) -> Bool {
        parts.ledger.rollback()
        note(failing: error)
        var configuration = coordinator.configuration
        configuration.isReadOnly = true
        var reader = try restoredCore(configuration, parts.ledger, commits: false)
        var retryAt = now + Self.retryInterval
        while true {
            let due = min(reader.nextDeadline ?? retryAt, retryAt)
            let wait = max(0, (due - now).inSeconds)
            guard let inputs = inbox.take(limit: Limits.stepInputCount, until: Date(timeIntervalSinceNow: wait)) else {
                return false
            }
            try readOnlyStep(inputs, &reader, parts)
            guard now >= retryAt else { continue }
            retryAt = now + Self.retryInterval
            guard try canWrite(parts.ledger) else { continue }
            configuration.isReadOnly = false
            coordinator = try restoredCore(configuration, parts.ledger, commits: true)
            note(failing: nil)
            return true
        }
    }

    /// A core that knows what the ledger holds, which members there are, and whether the node drains.
    private func restoredCore(
        _ configuration: CoordinatorConfiguration, _ ledger: any Ledger, commits: Bool
    ) throws(LedgerError) -> Coordinator {
        var core = Coordinator(configuration: configuration)
        var effects: [CoordinatorEffect] = []
        try ledger.begin()
        try core.restore(from: ledger)
        if let members = latestMembers {
            try core.handle(.members(members), at: now, ledger: ledger, into: &effects)
        }
        if !isStealing { try core.handle(.setStealing(false), at: now, ledger: ledger, into: &effects) }
        if let drain = latestDrain {
            try core.handle(.drain(drain), at: now, ledger: ledger, into: &effects)
        }
        if commits { try ledger.commit() } else { ledger.rollback() }
        if commits { for case .send(let peer, let message) in effects { self.send(peer, message) } }
        return core
    }

    private func readOnlyStep(
        _ inputs: [CoordinatorInput], _ reader: inout Coordinator, _ parts: Parts
    ) throws(LedgerError) {
        var effects: [CoordinatorEffect] = []
        let now = now
        do throws(LedgerError) {
            try parts.ledger.begin()
            for input in inputs {
                remember(input)
                guard !refuse(input) else { continue }
                try reader.handle(input, at: now, ledger: parts.ledger, into: &effects)
            }
            try reader.finishStep(at: now, ledger: parts.ledger, into: &effects)
        } catch {
            guard Self.isEndurable(error) else { throw error }
            // Even that would have written: what was not said is asked again.
            effects = []
        }
        parts.ledger.rollback()
        publish(reader.snapshot)
        for case .send(let peer, let message) in effects.filter(\.isWithoutCommit) { self.send(peer, message) }
    }

    private func canWrite(_ ledger: any Ledger) throws(LedgerError) -> Bool {
        do throws(LedgerError) {
            try ledger.begin()
            try ledger.setSetting(Self.probeSetting, to: "\(now.nanoseconds)")
            try ledger.commit()
            return true
        } catch {
            ledger.rollback()
            guard Self.isEndurable(error) else { throw error }
            note(failing: error)
            return false
        }
    }
}
