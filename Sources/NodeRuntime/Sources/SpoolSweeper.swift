// Removes copies of files from the spool when nobody needs them any more: their jobs have ended, or their batch is gone.

internal import ClusterModel
import Dispatch
import ImageSources
internal import Ledger
internal import Logging
internal import Wire

/// What a spooled copy is needed for, as far as this node can find out. Its calls block.
struct SpoolNeeds: Sendable {
    /// The record that this node has of a job; nil when it has none.
    let record: @Sendable (JobKey) throws -> Record?
    /// Whether this node holds the job's shard and has compared it with the other replicas: else the record may be old.
    let isCurrent: @Sendable (JobKey) -> Bool
    /// Nodes that should hold the record, without this one.
    let holders: @Sendable (JobKey) -> [NodeID]
    /// What a node knows of some jobs; nil when it does not answer.
    let lookUp: @Sendable (_ keys: [JobKey], _ node: NodeID) -> [Ocr_V1_JobDetail]?

    func need(_ key: JobKey, _ fingerprint: SourceFingerprint?) throws -> Spool.Need {
        if let record = try record(key) {
            guard isCurrent(key) else { return .unknown }
            // Of a file that was submitted again the copy may be here before the record is.
            guard record.specification.fingerprint == fingerprint else { return .stale }
            return record.outcome == .pending ? .pending : .ended
        }
        let holders = holders(key)
        for holder in holders {
            guard let details = lookUp([key], holder) else { return .unknown }
            if let found = details.first(where: { $0.line.job == key.description }) {
                return found.line.outcome == Outcome.pending.name ? .unknown : .ended
            }
        }
        // All that should know the job do not: its batch was removed.
        return holders.isEmpty ? .unknown : .stale
    }
}

/// Looks through the spool at the start and then once a minute, on a queue of its own.
///
/// `@unchecked Sendable`: the timer is set once in the initialiser; everything else is immutable.
final class SpoolSweeper: @unchecked Sendable {
    private static let interval = DispatchTimeInterval.seconds(60)

    private let timer: any DispatchSourceTimer

    init(_ spool: Spool, _ needs: SpoolNeeds, logger: Logger) {
        timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "spool-sweep"))
        timer.setEventHandler {
            do {
                let count = try spool.sweep { try needs.need($0, $1) }
                if count > 0 { logger.info("\(count) spooled files are not needed any more and were removed") }
            } catch {
                logger.warning("the spool could not be looked through: \(error)")
            }
        }
    }

    func start() {
        timer.schedule(deadline: .now(), repeating: Self.interval, leeway: .seconds(1))
        timer.resume()
    }

    func stop() { timer.cancel() }
}
