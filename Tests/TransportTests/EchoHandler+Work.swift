// Answers to the calls about work: what a test tells it to, and notes of what arrived.

import ClusterModel
import Crypto
import Foundation
import Synchronization
import Wire

@testable import Transport

struct Work: Sendable {
    /// Thrown by every call; by those that send, after `sentBeforeError` messages.
    var error: (any Error & Sendable)?
    var sentBeforeError = 0
    /// Chunks that `readSource` sends after its header.
    var chunkCount = 0
    var chunkByteCount = TransportLimits.chunkByteCount
    /// Whether calls with a stream do not end by themselves after what they have to say.
    var isSilentAtEnd = false

    var sentCount = 0
    var messageByteCounts: [Int] = []
    var callers: [NodeID] = []
    /// Calls with a stream that have ended, and by which error.
    var endedCount = 0
    var ends: [String] = []
}

extension EchoHandler {
    /// The n-th chunk of the file that `readSource` sends.
    static func chunk(_ number: Int, byteCount: Int) -> Data {
        Data(repeating: UInt8(truncatingIfNeeded: number &* 37), count: byteCount)
    }

    private func note(_ peer: NodeID) throws {
        let error = work.withLock { work in
            work.callers.append(peer)
            return work.sentBeforeError == 0 ? work.error : nil
        }
        if let error { throw error }
    }

    /// Sends the messages, then what the test wants: an error, silence, or nothing.
    private func send<Message: Sendable>(
        _ messages: some Sequence<Message>, to peer: NodeID, _ send: (Message) async throws -> Void
    ) async throws {
        do {
            try note(peer)
            for message in messages {
                try await send(message)
                let error = work.withLock { work in
                    work.sentCount += 1
                    return work.sentCount == work.sentBeforeError ? work.error : nil
                }
                if let error { throw error }
            }
            if work.withLock({ $0.isSilentAtEnd }) { try await untilCancelled() }
            work.withLock { $0.endedCount += 1 }
        } catch {
            end(error)
            throw error
        }
    }

    private func end(_ error: any Error) {
        work.withLock { work in
            work.endedCount += 1
            work.ends.append("\(type(of: error))")
        }
    }

    func deliver(_ request: Ocr_V1_DeliverRequest, peer: NodeID) async throws -> Ocr_V1_DeliverResponse {
        try note(peer)
        work.withLock { work in
            work.messageByteCounts += request.messages.map { $0.copies.copies.first?.result.count ?? 0 }
        }
        await pass()
        return Ocr_V1_DeliverResponse()
    }

    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws {
        let (count, byteCount) = work.withLock { ($0.chunkCount, $0.chunkByteCount) }
        let messages = (0...count).lazy.map { number in
            var chunk = Ocr_V1_SourceChunk()
            if number == 0 {
                chunk.header.byteCount = UInt64(count * byteCount)
            } else {
                chunk.bytes = Self.chunk(number, byteCount: byteCount)
            }
            return chunk
        }
        try await self.send(messages, to: peer, send)
    }

    func offerSpool(_ offer: Ocr_V1_SpoolOffer, peer: NodeID) async throws -> Ocr_V1_SpoolAnswer {
        try note(peer)
        var answer = Ocr_V1_SpoolAnswer()
        answer.wanted = Array(0..<UInt32(offer.entries.count))
        return answer
    }

    func writeSpool(_ chunks: PeerStream<Ocr_V1_SpoolChunk>, peer: NodeID) async throws -> Ocr_V1_SpoolReceipt {
        do {
            try note(peer)
            var receipt = Ocr_V1_SpoolReceipt()
            var hash = SHA256()
            for try await chunk in chunks {
                receipt.byteCount += UInt64(chunk.bytes.count)
                hash.update(data: chunk.bytes)
                let error = work.withLock { work in
                    work.sentCount += 1
                    return work.sentCount == work.sentBeforeError ? work.error : nil
                }
                if let error { throw error }
            }
            receipt.sha256 = Data(hash.finalize())
            work.withLock { $0.endedCount += 1 }
            return receipt
        } catch {
            end(error)
            throw error
        }
    }

    func listJobs(
        _ request: Ocr_V1_PeerListRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws {
        let lines = (0..<Int(request.limit)).lazy.map { number in
            var line = Ocr_V1_JobLine()
            line.batch = request.batch
            line.priority = Int32(number)
            return line
        }
        try await self.send(lines, to: peer, send)
    }

    func exportShards(
        _ request: Ocr_V1_PeerExportRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws {
        var row = Ocr_V1_ExportMessage()
        row.row.batch = request.batch
        row.row.result = Data(count: Limits.resultByteCount)
        try await self.send([row], to: peer, send)
    }

    func searchShards(
        _ request: Ocr_V1_PeerSearchRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws {
        var hit = Ocr_V1_SearchHit()
        hit.snippet = request.query
        try await self.send([hit], to: peer, send)
    }

    func lookUp(_ request: Ocr_V1_PeerLookUpRequest, peer: NodeID) async throws -> Ocr_V1_PeerLookUpResponse {
        try note(peer)
        var response = Ocr_V1_PeerLookUpResponse()
        response.jobs = request.keys.map { _ in Ocr_V1_JobDetail() }
        return response
    }

    func contents(_ request: Ocr_V1_ContentsRequest, peer: NodeID) async throws -> Ocr_V1_ContentsResponse {
        try note(peer)
        var response = Ocr_V1_ContentsResponse()
        response.found = request.notes
        return response
    }

    func drain(
        _ request: Ocr_V1_DrainRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        var progress = Ocr_V1_DrainProgress()
        progress.message = request.reason
        try await self.send([progress], to: peer, send)
    }

    func pause(_ request: Ocr_V1_PauseRequest, peer: NodeID) async throws -> Ocr_V1_PauseResponse {
        try note(peer)
        var response = Ocr_V1_PauseResponse()
        response.paused = true
        return response
    }
}

/// Throws when the task is cancelled.
func untilCancelled() async throws {
    for await _ in AsyncStream(Never.self, { _ in }) {}
    try Task.checkCancellation()
}
