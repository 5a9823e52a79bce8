// Calls about work: messages of coordination, files, questions about jobs, an operator's commands.
//
// In those with a stream, `silence` is the longest time that connecting may take and, after it, that the other side may
// say or take nothing; the whole call may take any time. What a closure throws ends the call as `stopped`; it is called
// by one task at a time, and should notice the cancellation of its task. A stream is begun once more on a new connection
// only where nothing had arrived yet.

package import struct ClusterModel.Endpoint
package import struct ClusterModel.NodeID
internal import GRPCCore
internal import SwiftProtobuf
internal import Synchronization
package import Wire

extension PeerClients {
    // MARK: Coordination

    /// Messages of a coordination core. They may arrive twice.
    ///
    /// - Parameter estimatedByteCount: its size, right within a factor of two; nil when nobody knows. Its exact size takes
    ///   another encoding of it, and matters only near the limit.
    package func deliver(
        _ request: Ocr_V1_DeliverRequest, estimatedByteCount: Int? = nil, to endpoint: Endpoint, member: NodeID?,
        timeout: Duration
    ) async -> Result<Ocr_V1_DeliverResponse, PeerFailure> {
        await call(request, estimatedByteCount: estimatedByteCount, endpoint, member, timeout) {
            try await $0.deliver(request, options: $1)
        }
    }

    // MARK: Files

    /// Reads a job's source from another node: the header, then chunks of at most `TransportLimits.chunkByteCount`.
    package func readSource(
        _ request: Ocr_V1_ReadSourceRequest, from endpoint: Endpoint, member: NodeID?, silence: Duration,
        receive: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        await stream(request, endpoint, member, silence) { chunk in
            guard chunk.bytes.count <= TransportLimits.chunkByteCount else {
                throw PeerFailure(.tooLarge, "\(endpoint) sent a chunk of \(chunk.bytes.count) bytes")
            }
            try await receive(chunk)
        } body: {
            try await $0.readSource(request, options: $1, onResponse: $2)
        }
    }

    package func offerSpool(
        _ offer: Ocr_V1_SpoolOffer, to endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_SpoolAnswer, PeerFailure> {
        await call(offer, endpoint, member, timeout) { try await $0.offerSpool(offer, options: $1) }
    }

    /// Writes a copy of a file to another node.
    ///
    /// - Parameter produce: sends the header and then the chunks, of at most `TransportLimits.chunkByteCount`. It is
    ///   called a second time, to begin anew, when the connection broke. `send` throws when the other side wants no more,
    ///   and `produce` has to end then.
    package func writeSpool(
        to endpoint: Endpoint, member: NodeID?, silence: Duration,
        produce:
            @escaping @Sendable (
                _ send: @escaping @Sendable (Ocr_V1_SpoolChunk) async throws -> Void
            ) async throws -> Void
    ) async -> Result<Ocr_V1_SpoolReceipt, PeerFailure> {
        await attempt(endpoint, member, .silence(silence)) { client, options, eventLoop in
            let watch = SilenceWatch(limit: silence)
            let stopped = StoppedBox()
            let pacer = Pacer(eventLoop, every: 1)
            do {
                return try await watch.run {
                    try await client.writeSpool(
                        options: options,
                        requestProducer: { writer in
                            try await stopped.noting(endpoint) {
                                try await produce { chunk in
                                    guard chunk.bytes.count <= TransportLimits.chunkByteCount else {
                                        throw PeerFailure(.tooLarge, "a chunk of \(chunk.bytes.count) bytes")
                                    }
                                    try await watch.waiting {
                                        do {
                                            try await writer.write(chunk)
                                            try await pacer.pass()
                                        } catch {
                                            // What the other side said about it is in its answer.
                                            throw SendingEnded()
                                        }
                                    }
                                }
                            }
                            // For the receipt.
                            watch.begin()
                        })
                }
            } catch {
                throw stopped.failure ?? error
            }
        }
    }

    // MARK: Questions about jobs

    package func listJobs(
        _ request: Ocr_V1_PeerListRequest, from endpoint: Endpoint, member: NodeID?, silence: Duration,
        receive: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        await stream(request, endpoint, member, silence, receive: receive) {
            try await $0.listJobs(request, options: $1, onResponse: $2)
        }
    }

    package func exportShards(
        _ request: Ocr_V1_PeerExportRequest, from endpoint: Endpoint, member: NodeID?, silence: Duration,
        receive: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        await stream(request, endpoint, member, silence, receive: receive) {
            try await $0.exportShards(request, options: $1, onResponse: $2)
        }
    }

    package func searchShards(
        _ request: Ocr_V1_PeerSearchRequest, from endpoint: Endpoint, member: NodeID?, silence: Duration,
        receive: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        await stream(request, endpoint, member, silence, receive: receive) {
            try await $0.searchShards(request, options: $1, onResponse: $2)
        }
    }

    package func lookUp(
        _ request: Ocr_V1_PeerLookUpRequest, from endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_PeerLookUpResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.lookUp(request, options: $1) }
    }

    /// Which jobs have the results of some contents, and notes about others. Notes may arrive twice.
    package func contents(
        _ request: Ocr_V1_ContentsRequest, from endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_ContentsResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.contents(request, options: $1) }
    }

    // MARK: An operator's commands

    /// Progress of a drain. The request may reach the node twice before anything has arrived here.
    package func drain(
        _ request: Ocr_V1_DrainRequest, at endpoint: Endpoint, member: NodeID?, silence: Duration,
        receive: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        await stream(request, endpoint, member, silence, receive: receive) {
            try await $0.drain(request, options: $1, onResponse: $2)
        }
    }

    package func pause(
        _ request: Ocr_V1_PauseRequest, at endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_PauseResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.pause(request, options: $1) }
    }

    // MARK: Streams

    private typealias ResponseHandler<Element: Sendable> =
        @Sendable (StreamingClientResponse<Element>) async throws -> Void

    private func stream<Element: Sendable>(
        _ request: any Message, _ endpoint: Endpoint, _ member: NodeID?, _ silence: Duration,
        receive: @escaping @Sendable (Element) async throws -> Void,
        body: @escaping @Sendable (PeerClient, CallOptions, @escaping ResponseHandler<Element>) async throws -> Void
    ) async -> Result<Void, PeerFailure> {
        if let failure = tooLarge(request, endpoint) { return .failure(failure) }
        let hasReceived = Atomic(false)
        return await attempt(
            endpoint, member, .silence(silence), canRepeat: { !hasReceived.load(ordering: .relaxed) }
        ) { client, options, _ in
            let watch = SilenceWatch(limit: silence)
            let stopped = StoppedBox()
            let handler: ResponseHandler<Element> = { response in
                for try await message in response.messages {
                    hasReceived.store(true, ordering: .relaxed)
                    watch.end()
                    try await stopped.noting(endpoint) { try await receive(message) }
                    watch.begin()
                }
            }
            do {
                try await watch.run {
                    watch.begin()
                    try await body(client, options, handler)
                }
            } catch {
                throw stopped.failure ?? error
            }
        }
    }
}

/// The writer of a stream takes no more.
private struct SendingEnded: Error {}

/// Keeps what the caller's closure threw apart from what gRPC makes of it.
private final class StoppedBox: Sendable {
    private let box = Mutex<PeerFailure?>(nil)

    var failure: PeerFailure? { box.withLock { $0 } }

    func noting(_ endpoint: Endpoint, _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as SendingEnded {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            let failure =
                error as? PeerFailure ?? PeerFailure(.stopped, "the call to \(endpoint) was given up here: \(error)")
            box.withLock { $0 = failure }
            throw failure
        }
    }
}
