// Calls about work over real connections on loopback: large messages, streams, refusals.

import ClusterModel
import Crypto
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Wire

@testable import Transport

@Suite(.serialized) struct PeerWorkTests {
    private let ring = Keyring(.random())
    private let endpoint = Loopback.ipv4

    /// With a connection that is there already: what follows takes no time for its handshake.
    private func with(
        streamSilence: Duration = TransportLimits.streamSilence,
        _ body: (PeerClients, Endpoint, EchoHandler) async throws -> Void
    ) async throws {
        try await withServer(keyring: ring, streamSilence: streamSilence) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                let probe = await clients.probe(
                    Ocr_V1_ProbeRequest(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(probe.failureKind == nil, "\(probe.failureText)")
                try await body(clients, endpoint, handler)
            }
        }
    }

    private func delivery(resultByteCount: Int) -> Ocr_V1_DeliverRequest {
        var copy = Ocr_V1_CopyMessage()
        copy.result = Data(repeating: 7, count: resultByteCount)
        var request = Ocr_V1_DeliverRequest()
        request.messages = [Ocr_V1_CoordinationEnvelope()]
        request.messages[0].copies.copies = [copy]
        return request
    }

    // MARK: Deliver

    @Test func `the largest result gets through, one beyond the limit is not sent`() async throws {
        try await with { clients, endpoint, handler in
            let taken = await clients.deliver(
                delivery(resultByteCount: Limits.resultByteCount), to: endpoint, member: node(1),
                timeout: Loopback.patience)
            #expect(taken.failureKind == nil, "\(taken.failureText)")
            #expect(handler.work.withLock { $0.messageByteCounts } == [Limits.resultByteCount])
            #expect(handler.work.withLock { $0.callers } == [node(2)])
            let unsent = await clients.deliver(
                delivery(resultByteCount: TransportLimits.requestByteCount), to: endpoint, member: node(1),
                timeout: Loopback.patience)
            #expect(unsent.failureKind == .tooLarge)
        }
    }

    @Test func `a peer with too many deliveries under way hears that the node is busy, another peer does not`()
        async throws
    {
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                handler.hold()
                let request = delivery(resultByteCount: 1)
                let calls = (0..<TransportLimits.deliverCallCount).map { _ in
                    Task {
                        await clients.deliver(
                            request, to: endpoint, member: node(1), timeout: Loopback.patience)
                    }
                }
                #expect(await eventually { handler.callCount == TransportLimits.deliverCallCount })
                let refused = try await clients.deliver(
                    request, to: endpoint, member: node(1), timeout: Loopback.patience
                ).get()
                #expect(refused.busy)
                #expect(handler.callCount == TransportLimits.deliverCallCount)
                try await withClients(node: node(3), keyring: ring) { others in
                    async let other = others.deliver(
                        request, to: endpoint, member: node(1), timeout: Loopback.patience)
                    #expect(await eventually { handler.callCount == TransportLimits.deliverCallCount + 1 })
                    handler.release()
                    let answer = await other
                    #expect((try? answer.get())?.busy == false, "\(answer.failureText)")
                }
                for call in calls {
                    let answer = await call.value
                    #expect((try? answer.get())?.busy == false, "\(answer.failureText)")
                }
                let next = try await clients.deliver(
                    request, to: endpoint, member: node(1), timeout: Loopback.patience
                ).get()
                #expect(!next.busy)
            }
        }
    }

    @Test func `all peers together have a limit too, and what left makes room`() {
        let gate = DeliveryGate()
        let peers = TransportLimits.deliverTotalCount / TransportLimits.deliverCallCount
        for peer in 0..<UInt64(peers) {
            for _ in 0..<TransportLimits.deliverCallCount { #expect(gate.enter(node(peer))) }
            #expect(!gate.enter(node(peer)))
        }
        #expect(!gate.enter(node(99)))
        gate.leave(node(0))
        #expect(gate.enter(node(99)))
        #expect(!gate.enter(node(0)))
    }

    // MARK: Streams

    @Test func `a file of some MiB arrives in order and whole`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { $0.chunkCount = 32 }
            let expected = (1...32).reduce(into: SHA256()) {
                $0.update(data: EchoHandler.chunk($1, byteCount: TransportLimits.chunkByteCount))
            }
            let received = Mutex((header: UInt64(0), hash: SHA256()))
            let end = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { chunk in
                received.withLock { received in
                    if case .header(let header) = chunk.kind { received.header = header.byteCount }
                    received.hash.update(data: chunk.bytes)
                }
            }
            #expect(end.failureKind == nil, "\(end.failureText)")
            #expect(received.withLock { $0.header } == 8 << 20)
            #expect(received.withLock { $0.hash.finalize() } == expected.finalize())
        }
    }

    @Test func `who reads slowly holds the sender up, not the connection`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { $0.chunkCount = 160 }
            let isFirst = Atomic(true)
            let end = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in
                guard isFirst.exchange(false, ordering: .relaxed) else { return }
                #expect(await eventually { handler.work.withLock { $0.sentCount } > 2 })
                for _ in 0..<30 {
                    let probe = await clients.probe(
                        Ocr_V1_ProbeRequest(), with: endpoint, member: node(1), timeout: Loopback.patience)
                    #expect(probe.failureKind == nil, "\(probe.failureText)")
                }
                // 40 MiB are to be sent; windows and buffers have a few.
                #expect(handler.work.withLock { $0.sentCount } < 50)
            }
            #expect(end.failureKind == nil, "\(end.failureText)")
            #expect(handler.work.withLock { $0.sentCount } == 161)
        }
    }

    @Test func `a file is written and its receipt comes back`() async throws {
        try await with { clients, endpoint, handler in
            let expected = (0..<20).reduce(into: SHA256()) {
                $0.update(data: EchoHandler.chunk($1, byteCount: TransportLimits.chunkByteCount))
            }
            let receipt = try await clients.writeSpool(to: endpoint, member: node(1), silence: Loopback.patience) {
                send in
                var header = Ocr_V1_SpoolChunk()
                header.header.byteCount = 5 << 20
                try await send(header)
                for number in 0..<20 {
                    var chunk = Ocr_V1_SpoolChunk()
                    chunk.bytes = EchoHandler.chunk(number, byteCount: TransportLimits.chunkByteCount)
                    try await send(chunk)
                }
            }.get()
            #expect(receipt.byteCount == 5 << 20)
            #expect(receipt.sha256 == Data(expected.finalize()))
            #expect(handler.work.withLock { $0.callers } == [node(2)])
        }
    }

    @Test func `questions and commands reach the node with all that they say`() async throws {
        try await with { clients, endpoint, handler in
            let batches = Mutex<[String]>([])
            var list = Ocr_V1_PeerListRequest()
            list.batch = "b"
            list.limit = 1_000
            let listed = await clients.listJobs(
                list, from: endpoint, member: node(1), silence: Loopback.patience
            ) { line in batches.withLock { $0.append(line.batch) } }
            #expect(listed.failureKind == nil, "\(listed.failureText)")
            #expect(batches.withLock { $0 } == Array(repeating: "b", count: 1_000))

            let byteCount = Mutex(0)
            let exported = await clients.exportShards(
                Ocr_V1_PeerExportRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { message in byteCount.withLock { $0 += message.row.result.count } }
            #expect(exported.failureKind == nil, "\(exported.failureText)")
            #expect(byteCount.withLock { $0 } == Limits.resultByteCount)

            let texts = Mutex<[String]>([])
            var search = Ocr_V1_PeerSearchRequest()
            search.query = "Ähre"
            let found = await clients.searchShards(
                search, from: endpoint, member: node(1), silence: Loopback.patience
            ) { hit in texts.withLock { $0.append(hit.snippet) } }
            #expect(found.failureKind == nil, "\(found.failureText)")
            var drain = Ocr_V1_DrainRequest()
            drain.reason = "spot"
            let drained = await clients.drain(
                drain, at: endpoint, member: node(1), silence: Loopback.patience
            ) { progress in texts.withLock { $0.append(progress.message) } }
            #expect(drained.failureKind == nil, "\(drained.failureText)")
            #expect(texts.withLock { $0 } == ["Ähre", "spot"])

            var keys = Ocr_V1_PeerLookUpRequest()
            keys.keys = [Data(count: 16), Data(count: 16)]
            let jobs = try await clients.lookUp(
                keys, from: endpoint, member: node(1), timeout: Loopback.patience
            ).get()
            #expect(jobs.jobs.count == 2)
            var contents = Ocr_V1_ContentsRequest()
            contents.notes = [Ocr_V1_ContentNote(), Ocr_V1_ContentNote()]
            let echoed = try await clients.contents(
                contents, from: endpoint, member: node(1), timeout: Loopback.patience
            ).get()
            #expect(echoed.found.count == 2)
            let paused = try await clients.pause(
                Ocr_V1_PauseRequest(), at: endpoint, member: node(1), timeout: Loopback.patience
            ).get()
            #expect(paused.paused)
            var offer = Ocr_V1_SpoolOffer()
            offer.entries = [Ocr_V1_SpoolEntry(), Ocr_V1_SpoolEntry()]
            let answer = try await clients.offerSpool(
                offer, to: endpoint, member: node(1), timeout: Loopback.patience
            ).get()
            #expect(answer.wanted == [0, 1])
            #expect(handler.work.withLock { $0.callers } == Array(repeating: node(2), count: 8))
        }
    }

    // MARK: Refusals

    private static let refusals = [
        AdminError.notFound("no such job here", hint: "see `node jobs`"),
        AdminError(Failure(.sourceUnreadable, "/a.png: permission denied")),
        AdminError.refused("drain-denied", "nö", hint: "Zeile 1\nZeile 2"),
        // As unavailable as a connection that broke, and yet no reason to ask again.
        AdminError(code: "starting", message: "the node is starting", exitCode: 69),
    ]

    @Test(arguments: refusals) func `a refusal arrives with its hint and exit code, and is not asked for twice`(
        refusal: AdminError
    ) async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { $0.error = refusal }
            let unary = await clients.offerSpool(
                Ocr_V1_SpoolOffer(), to: endpoint, member: node(1), timeout: Loopback.patience)
            #expect(unary.failureKind == .failed)
            #expect(unary.failureAnswer == refusal)
            #expect(unary.failureText.contains(refusal.message))
            let stream = await clients.listJobs(
                Ocr_V1_PeerListRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in }
            #expect(stream.failureAnswer == refusal, "\(stream.failureText)")
            #expect(handler.work.withLock { $0.callers.count } == 2)
            handler.work.withLock { work in
                work.sentBeforeError = 3
                work.chunkCount = 10
            }
            let count = Atomic(0)
            let midway = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in count.add(1, ordering: .relaxed) }
            #expect(midway.failureAnswer == refusal, "\(midway.failureText)")
            #expect(count.load(ordering: .relaxed) == 3)
        }
    }

    @Test func `a node that wants no more of a file says why, and the sender ends`() async throws {
        try await with { clients, endpoint, handler in
            let refusal = AdminError.refused("spool-full", "the disk is full", hint: "make room")
            handler.work.withLock { work in
                work.error = refusal
                work.sentBeforeError = 3
            }
            let hasEnded = Atomic(false)
            let end = await clients.writeSpool(to: endpoint, member: node(1), silence: Loopback.patience) { send in
                defer { hasEnded.store(true, ordering: .relaxed) }
                // Without an end: only the node's answer stops it.
                while true {
                    var chunk = Ocr_V1_SpoolChunk()
                    chunk.bytes = Data(count: TransportLimits.chunkByteCount)
                    try await send(chunk)
                }
            }
            #expect(end.failureAnswer == refusal, "\(end.failureText)")
            #expect(await eventually { hasEnded.load(ordering: .relaxed) })
        }
    }

    private struct NoRoom: Error {}

    @Test func `what the caller's own closure throws ends the call and is told apart`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { $0.chunkCount = 4_000 }
            let read = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in throw NoRoom() }
            #expect(read.failureKind == .stopped)
            #expect(read.failureText.contains("NoRoom"))
            // The node hears it, and sends no more.
            #expect(await eventually { handler.work.withLock { $0.endedCount } == 1 })
            #expect(handler.work.withLock { $0.sentCount } < 4_000)
            let written = await clients.writeSpool(to: endpoint, member: node(1), silence: Loopback.patience) {
                _ in throw NoRoom()
            }
            #expect(written.failureKind == .stopped, "\(written.failureText)")
            #expect(await eventually { handler.work.withLock { $0.endedCount } == 2 })
        }
    }

    @Test func `chunks above the limit are neither sent nor taken`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { work in
                work.chunkCount = 1
                work.chunkByteCount = TransportLimits.chunkByteCount + 1
            }
            let read = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in }
            #expect(read.failureKind == .tooLarge, "\(read.failureText)")
            let written = await clients.writeSpool(to: endpoint, member: node(1), silence: Loopback.patience) {
                send in
                var chunk = Ocr_V1_SpoolChunk()
                chunk.bytes = Data(count: TransportLimits.chunkByteCount + 1)
                try await send(chunk)
            }
            #expect(written.failureKind == .tooLarge, "\(written.failureText)")
        }
    }

    // MARK: Silence

    @Test func `a node that falls silent in the middle is given up`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { work in
                work.chunkCount = 2
                work.isSilentAtEnd = true
            }
            let end = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: .seconds(1)
            ) { _ in }
            #expect(end.failureKind == .timedOut, "\(end.failureText)")
            // And the node notices that nobody listens.
            #expect(await eventually { handler.work.withLock { $0.endedCount == $0.callers.count } })
        }
    }

    @Test func `only waiting for the other side is silence`() async throws {
        let watch = SilenceWatch(limit: .milliseconds(20))
        let value = try await watch.run {
            for _ in 0..<3 {
                await watch.waiting {}
                // Four times the limit, in which nobody is waited for.
                try await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(80)) {}
                    .futureResult.get()
                try Task.checkCancellation()
            }
            return 7
        }
        #expect(value == 7)
        let other = SilenceWatch(limit: .milliseconds(20))
        await #expect(throws: SilenceExpired.self) {
            try await other.run { try await other.waiting { try await untilCancelled() } }
        }
    }

    @Test func `a node gives up a sender that says nothing and a reader that takes nothing`() async throws {
        try await with(streamSilence: .milliseconds(300)) { clients, endpoint, handler in
            let written = await clients.writeSpool(to: endpoint, member: node(1), silence: Loopback.patience) {
                send in
                try await send(Ocr_V1_SpoolChunk())
                try await untilCancelled()
            }
            #expect(written.failureKind == .timedOut, "\(written.failureText)")
            handler.work.withLock { $0.chunkCount = 4_000 }
            let isFirst = Atomic(true)
            let read = await clients.readSource(
                Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: Loopback.patience
            ) { _ in
                guard isFirst.exchange(false, ordering: .relaxed) else { return }
                #expect(await eventually { handler.work.withLock { $0.ends.count } == 2 })
            }
            #expect(read.failureKind == .timedOut, "\(read.failureText)")
            #expect(handler.work.withLock { $0.sentCount } < 4_000)
        }
    }

    @Test func `a cancelled stream ends at once on both sides`() async throws {
        try await with { clients, endpoint, handler in
            handler.work.withLock { $0.isSilentAtEnd = true }
            let hasBegun = Mutex(false)
            let call = Task {
                await clients.readSource(
                    Ocr_V1_ReadSourceRequest(), from: endpoint, member: node(1), silence: .seconds(600)
                ) { _ in hasBegun.withLock { $0 = true } }.failureKind
            }
            #expect(await eventually { hasBegun.withLock { $0 } })
            call.cancel()
            #expect(await call.value == .cancelled)
            #expect(await eventually { handler.work.withLock { $0.ends } == ["CancellationError"] })
        }
    }

    @Test func `a stream on a connection that broke meanwhile is begun anew`() async throws {
        try await withClients(keyring: ring) { clients in
            var list = Ocr_V1_PeerListRequest()
            list.limit = 3
            var place = endpoint
            for _ in 0..<2 {
                try await withServer(at: place, keyring: ring) { _, bound, handler in
                    place = bound
                    let count = Atomic(0)
                    let end = await clients.listJobs(
                        list, from: bound, member: node(1), silence: Loopback.patience
                    ) { _ in count.add(1, ordering: .relaxed) }
                    #expect(end.failureKind == nil, "\(end.failureText)")
                    #expect(count.load(ordering: .relaxed) == 3)
                }
            }
        }
    }
}
