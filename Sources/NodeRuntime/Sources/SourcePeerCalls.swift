// Files from and to other nodes, over the connections between them: what `ImageSources` wants, as calls of the peer service.

internal import ClusterModel
import Dispatch
import Foundation
import ImageSources
import Synchronization
internal import Transport
internal import Wire

/// Where a node can be asked.
enum PeerPlace: Sendable {
    case at(Endpoint)
    /// Dead, left or not known: there is no use in trying. The text says which.
    case gone(String)
}

/// Calls that block the thread that makes them, which is never one of the cooperative pool.
final class SourcePeerCalls: SourcePeers, SpoolPeers {
    /// Connecting, and after it silence, may take so long. A slot may wait for it.
    static let silence = Duration.seconds(30)
    /// Answers to offers: the other node may have to read and compare files.
    static let offerTimeout = Duration.seconds(60)

    private let clients: PeerClients
    private let place: @Sendable (NodeID) -> PeerPlace

    /// - Parameter place: called on any thread, must not wait.
    init(_ clients: PeerClients, place: @escaping @Sendable (NodeID) -> PeerPlace) {
        self.clients = clients
        self.place = place
    }

    func readSource(
        _ request: SourceRequest, from node: NodeID, cancellation: SourceCancellation, into sink: any SourceSink
    ) -> SourceReadEnd {
        let endpoint: Endpoint
        switch place(node) {
        case .at(let found): endpoint = found
        case .gone(let why): return .unreachable(why)
        }
        let message = SourceCodec.encode(
            SourceQuestion(
                key: request.key, batch: request.batch, source: request.source, pages: request.pages,
                fingerprint: request.fingerprint, isDigestOnly: request.isDigestOnly))
        let clients = clients
        let result = BlockingCall.wait(cancellation) {
            await clients.readSource(message, from: endpoint, member: node, silence: Self.silence) { chunk in
                let isWanted: Bool
                switch chunk.kind {
                case .header(let header): isWanted = sink.begin(try SourceDescription(header))
                case .bytes(let bytes): isWanted = bytes.withUnsafeBytes { sink.take($0) }
                case nil: throw SenselessMessage()
                }
                guard isWanted else { throw NoMoreWanted() }
            }
        }
        switch result {
        case .success: return .complete
        case .failure(let failure): return Self.end(failure, cancellation)
        }
    }

    private static func end(_ failure: PeerFailure, _ cancellation: SourceCancellation) -> SourceReadEnd {
        if cancellation.isCancelled { return .cancelled }
        switch failure.kind {
        case .stopped: return .stopped
        case .failed:
            guard let answer = failure.answer else { return .unreachable(failure.message) }
            return answer.failure.map { .failed($0) } ?? .notHere(answer.message)
        case .refused, .unreachable, .timedOut, .wrongKey, .wrongNode, .notANode, .closed, .tooLarge, .cancelled,
            .local:
            return .unreachable(failure.message)
        }
    }

    // MARK: Spooling

    func offerSpool(
        _ offers: [ImageSources.SpoolOffer], to node: NodeID, cancellation: SourceCancellation
    ) -> Result<[SpoolAnswer], SpoolUnreachable> {
        let endpoint: Endpoint
        switch place(node) {
        case .at(let found): endpoint = found
        case .gone(let why): return .failure(SpoolUnreachable(why))
        }
        var message = Ocr_V1_SpoolOffer()
        message.entries = offers.map { SourceCodec.encode(SpoolQuestion($0)) }
        let clients = clients
        let request = message
        let result = BlockingCall.wait(cancellation) {
            await clients.offerSpool(request, to: endpoint, member: node, timeout: Self.offerTimeout)
        }
        switch result {
        case .success(let answer): return .success(Self.answers(answer, count: offers.count))
        case .failure(let failure): return .failure(SpoolUnreachable(failure.message))
        }
    }

    /// The answer to each offer. Indices that were not asked about are passed over.
    static func answers(_ message: Ocr_V1_SpoolAnswer, count: Int) -> [SpoolAnswer] {
        var answers = Array(repeating: SpoolAnswer.refused("it was not looked at"), count: count)
        func set(_ index: UInt32, _ answer: SpoolAnswer) {
            if Int(index) < count { answers[Int(index)] = answer }
        }
        for index in message.wanted { set(index, .wanted) }
        for index in message.present { set(index, .present) }
        for index in message.readable { set(index, .readable) }
        for refusal in message.refused { set(refusal.index, .refused(refusal.reason)) }
        return answers
    }

    func writeSpool(
        _ offer: ImageSources.SpoolOffer, to node: NodeID, cancellation: SourceCancellation,
        next: @escaping @Sendable () -> Result<[UInt8]?, Failure>
    ) -> SpoolWriteEnd {
        let endpoint: Endpoint
        switch place(node) {
        case .at(let found): endpoint = found
        case .gone(let why): return .unreachable(why)
        }
        var header = Ocr_V1_SpoolChunk()
        header.header = SourceCodec.encode(SpoolQuestion(offer))
        let first = header
        let clients = clients
        let hasBegun = Mutex(false)
        let unreadable = Mutex<Failure?>(nil)
        let disk = BlockingQueue("spool-read")
        let result = BlockingCall.wait(cancellation) {
            await clients.writeSpool(to: endpoint, member: node, silence: Self.silence) { send in
                // The bytes are read once: what broke in the middle is offered to another node.
                let isAgain = hasBegun.withLock { hasBegun in
                    defer { hasBegun = true }
                    return hasBegun
                }
                if isAgain { throw NoMoreWanted() }
                try await send(first)
                while true {
                    switch try await disk.run(next) {
                    case .success(nil): return
                    case .success(let bytes?):
                        var chunk = Ocr_V1_SpoolChunk()
                        chunk.bytes = Data(bytes)
                        try await send(chunk)
                    case .failure(let failure):
                        unreadable.withLock { $0 = failure }
                        throw failure
                    }
                }
            }
        }
        if let failure = unreadable.withLock({ $0 }) { return .failed(failure) }
        switch result {
        case .success(let receipt):
            guard let digest = SourceDigest(bytes: Array(receipt.sha256)) else {
                return .unreachable("its receipt makes no sense")
            }
            return .stored(digest)
        case .failure(let failure):
            if cancellation.isCancelled { return .cancelled }
            if let answer = failure.answer { return .refused(answer.message) }
            return .unreachable(failure.kind == .stopped ? "the connection broke" : failure.message)
        }
    }

    // MARK: Jobs

    /// What a node knows of at most `Limits.lookUpCount` jobs; nil when it does not answer.
    func lookUp(
        _ keys: [JobKey], on node: NodeID, withResult: Bool, timeout: Duration, cancellation: SourceCancellation
    ) -> [Ocr_V1_JobDetail]? {
        guard case .at(let endpoint) = place(node) else { return nil }
        var message = Ocr_V1_PeerLookUpRequest()
        message.keys = keys.map { Data($0.bits.bytes) }
        message.withResult = withResult
        let (request, clients) = (message, clients)
        let result = BlockingCall.wait(cancellation) {
            await clients.lookUp(request, from: endpoint, member: node, timeout: timeout)
        }
        return try? result.get().jobs
    }
}

/// The sink, or the sender, wants no more of a stream.
private struct NoMoreWanted: Error {}
private struct SenselessMessage: Error {}

extension SourceDescription {
    /// Throws for a size that cannot be or a digest of a wrong length.
    fileprivate init(_ header: Ocr_V1_SourceHeader) throws {
        guard let byteCount = Int64(exactly: header.byteCount) else { throw SenselessMessage() }
        let digest = header.hasSha256 ? SourceDigest(bytes: Array(header.sha256)) : nil
        if header.hasSha256, digest == nil { throw SenselessMessage() }
        self.init(byteCount: byteCount, modifiedNanoseconds: header.modifiedNanoseconds, digest: digest)
    }
}

extension SpoolQuestion {
    fileprivate init(_ offer: ImageSources.SpoolOffer) {
        self.init(key: offer.key, specification: offer.specification, byteCount: offer.byteCount)
    }
}
