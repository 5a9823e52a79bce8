// When a node's ledger is damaged, or an older copy of itself (a restored disk image), it is set aside and a new one is
// filled from the replicas (docs/coordination.md). Only where there are others to fill it: a node alone has no other copy,
// and refuses to start instead.

internal import ClusterModel
internal import Ledger
internal import Logging
import Synchronization

/// Whether, and why, the node is to end and start again with a new ledger.
final class LedgerRenewal: Sendable {
    private let wanted = Mutex<String?>(nil)

    var reason: String? { wanted.withLock { $0 } }

    func want(_ reason: String) { wanted.withLock { if $0 == nil { $0 = reason } } }

    /// Whether other nodes are known that may hold what this one's ledger did.
    static func isPossible(_ options: NodeOptions) -> Bool {
        !ClusterFiles.members(directory: options.dataDirectory).isEmpty
    }

    /// Moves the ledger out of the way. Throws when that is impossible; then nothing, or some of it, has moved.
    static func setAside(_ options: NodeOptions, because reason: String, _ logger: Logger) throws(LedgerError) {
        let place = try LedgerQuarantine.setAside(directory: options.dataDirectory)
        logger.critical("\(reason): the ledger was set aside in \(place), a new one is filled from the other nodes")
    }

    /// Opens the ledger; a damaged one is set aside where others hold what it held.
    static func open(_ options: NodeOptions, _ logger: Logger) throws(LedgerError) -> SQLiteLedger {
        let identity: NodeID?
        do throws(NodeFailure) {
            identity = try ClusterFiles.identity(directory: options.dataDirectory)
        } catch {
            throw LedgerError(.ioError, error.message, hint: error.hint)
        }
        let ledger: SQLiteLedger
        do throws(LedgerError) {
            ledger = try SQLiteLedger(
                directory: options.dataDirectory, layout: options.layout, identity: identity)
        } catch {
            guard error.kind == .corrupt, isPossible(options) else { throw error }
            try setAside(options, because: error.message, logger)
            ledger = try SQLiteLedger(
                directory: options.dataDirectory, layout: options.layout, identity: identity)
        }
        do throws(NodeFailure) {
            try ClusterFiles.write(identity: ledger.nodeID, directory: options.dataDirectory)
        } catch {
            throw LedgerError(.ioError, error.message, hint: error.hint)
        }
        return ledger
    }
}
