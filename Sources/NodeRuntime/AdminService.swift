// The admin interface of a node: gRPC over the Unix socket in its data directory (CLI.md, Protos/admin.proto).
//
// Reads come from the ledger's reader, on a thread of their own; changes go through the step loop and are answered after
// their commit.

internal import ClusterModel
internal import Coordination
package import GRPCCore
import ImageSources
internal import Ledger
internal import ObjectStorage
package import Wire

/// Serves the commands of this machine.
package struct AdminService: Ocr_V1_Admin.SimpleServiceProtocol {
    let facts: NodeFacts
    let loop: StepLoop
    let reader: LedgerReader
    let search: SearchIndex
    let reads: BlockingQueue
    let searches: BlockingQueue
    let languages: any LanguageCatalogue
    let slotReports: @Sendable () -> [SlotReport]
    let slotFigures: @Sendable () -> SlotFigures
    let prefetch: @Sendable () -> PrefetchStatistics
    /// What confines the workers, as the first of them said; nil before it did.
    let sandbox: @Sendable () -> String?
    /// What the cloud announces to this machine; nil when nothing.
    let notice: @Sendable () -> String?
    let stopControl: StopControl
    let drainControl: DrainControl
    /// Set once the node's ports are open.
    let cluster: ClusterReference
    /// Set once the node runs watches.
    let watching: WatchSupervisorReference
    let stores: RemoteStores
    let costs: CostBook

    init(
        facts: NodeFacts, loop: StepLoop, reader: LedgerReader, search: SearchIndex,
        languages: any LanguageCatalogue, slotReports: @escaping @Sendable () -> [SlotReport],
        slotFigures: @escaping @Sendable () -> SlotFigures,
        prefetch: @escaping @Sendable () -> PrefetchStatistics,
        sandbox: @escaping @Sendable () -> String?, notice: @escaping @Sendable () -> String? = { nil },
        stopControl: StopControl, drainControl: DrainControl, cluster: ClusterReference,
        watching: WatchSupervisorReference, stores: RemoteStores, costs: CostBook
    ) {
        self.facts = facts
        self.loop = loop
        self.reader = reader
        self.search = search
        self.languages = languages
        self.slotReports = slotReports
        self.slotFigures = slotFigures
        self.prefetch = prefetch
        self.sandbox = sandbox
        self.notice = notice
        self.stopControl = stopControl
        self.drainControl = drainControl
        self.cluster = cluster
        self.watching = watching
        self.stores = stores
        self.costs = costs
        reads = BlockingQueue("ledger-reads")
        searches = BlockingQueue("ledger-search")
    }

    package func ping(
        request: Ocr_V1_PingRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_PingResponse {
        var response = Ocr_V1_PingResponse()
        response.nodeID = facts.id.description
        response.nodeName = facts.name
        response.version = NodeFacts.version
        response.pid = UInt32(bitPattern: facts.processID)
        return response
    }

    // MARK: Shared by the calls

    /// The newest batch of a name that is not removed.
    func batch(named name: String) async throws -> Batch {
        let reader = reader
        let batches = try await reads.run { try reader.batches() }
        let live = batches.filter { $0.id.name == name && !$0.isRemoved }
        guard let found = live.max(by: { $0.id.generation < $1.id.generation }) else {
            throw AdminError.notFound("there is no batch \(name)", hint: "see `node batches`")
        }
        return found
    }

    /// The batches that a request means: the named one, or all that are not removed.
    func batches(named name: String?) async throws -> [Batch] {
        if let name { return [try await batch(named: name)] }
        let reader = reader
        return try await reads.run { try reader.batches() }.filter { !$0.isRemoved }
    }

    func reply(_ make: @Sendable (RequestID) -> CoordinatorInput) async throws -> CoordinatorReply {
        do {
            return try await loop.ask(make)
        } catch let error as LedgerError {
            throw AdminError(code: "ledger", message: error.message, hint: error.hint, exitCode: 1)
        }
    }
}
