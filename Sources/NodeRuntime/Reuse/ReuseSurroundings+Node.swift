// Reuse in a running node: its ledger, its models, its calls to others.

internal import ClusterModel
internal import Coordination
import Foundation
import ImageSources
internal import Ledger
internal import Logging
import OCR
import Synchronization
internal import Transport
internal import Wire

/// The ledger's reader, once it is open.
final class ReaderReference: Sendable {
    private let held = Mutex<LedgerReader?>(nil)

    var value: LedgerReader? { held.withLock { $0 } }

    func set(_ reader: LedgerReader) { held.withLock { $0 = reader } }
}

/// What the parts of a node have in common that find results.
struct ReuseParts: Sendable {
    let node: NodeID
    let layout: ShardLayout
    let loop: StepLoop
    let cluster: ClusterReference
    let reader: ReaderReference
    let peers: ReferencedSourcePeers
    let logger: Logger

    /// How long one call with notes and questions may take; a question is given up much earlier.
    private static let callTimeout = Duration.seconds(2)
    /// How long reading a result from another node may take, and how many are asked.
    private static let resultTimeout = Duration.milliseconds(500)
    private static let holderCount = 2

    func surroundings(tessdata: String) -> ReuseSurroundings {
        let names = ModelNames(directory: tessdata)
        let post = ContentPost { await call($0, $1) }
        return ReuseSurroundings(
            node: node, engine: Recogniser.engineVersion, models: { names.models(of: $0) },
            learn: { names.learn($0, of: $1) }, home: { home(of: $0) },
            ask: { post.ask($0, at: $1, cancellation: $2) }, tell: { post.note($0, to: $1) }, own: { own($0) },
            others: { others($0, $1) },
            onRefusal: { job in
                logger.notice("the result of job \(job) is not of the image for which it was named: recognising again")
            })
    }

    private func home(of content: ContentKey) -> NodeID? {
        loop.snapshot.flatMap { content.home(among: $0.placement.alive) }
    }

    private func call(_ letter: ContentLetter, _ peer: NodeID) async -> [ContentNote]? {
        guard let cluster = cluster.value, let endpoint = cluster.feed.endpoint(of: peer) else { return nil }
        let answer = await cluster.clients.contents(
            ContentCodec.encode(letter), from: endpoint, member: peer, timeout: Self.callTimeout)
        return (try? answer.get()).map { ContentCodec.decode($0, wanted: letter.wanted) }
    }

    /// A job that cannot be read is one that is not here.
    private func own(_ job: JobKey) -> KnownResult? {
        guard let reader = reader.value, let read = try? reader.record(job) else { return nil }
        return KnownResult(read)
    }

    private func others(_ job: JobKey, _ cancellation: SourceCancellation) -> KnownResult? {
        guard let placement = loop.snapshot?.placement else { return nil }
        let holders = placement.replicas(of: layout.shard(of: job)).filter {
            $0 != node && placement.alive.contains($0)
        }
        for holder in holders.prefix(Self.holderCount) where !cancellation.isCancelled {
            let details = peers.lookUp(
                [job], on: holder, withResult: true, timeout: Self.resultTimeout, cancellation: cancellation)
            if let detail = details?.first, let known = KnownResult(detail, job: job) { return known }
        }
        return nil
    }
}
