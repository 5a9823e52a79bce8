// The bytes of one object, whole and unmixed: a transfer that breaks off goes on where it was, if the object is still the
// same one.
//
//     open ──200/206──▶ reading ──all──▶ ended
//      ▲                   │
//      └── broke off: from the offset on, with the same ETag
//
// Invariants: bytes come in order, none twice; the count is what was announced, or an error is thrown; an object that has
// another ETag or size than was expected gives no byte.

import AsyncHTTPClient
internal import ClusterModel
internal import NIOCore
internal import NIOHTTP1

/// What is known of an object before its bytes.
package struct ObjectFacts: Hashable, Sendable {
    /// Nil where the server does not say.
    package let byteCount: Int64?
    package let modifiedNanoseconds: Int64
    package let tag: [UInt8]?
}

/// `@unchecked Sendable`: used by one task at a time.
package final class ObjectTransfer: @unchecked Sendable {
    private let client: StoreClient
    private let origin: any RequestOrigin
    private let gates: EndpointGates
    private let expected: SourceFingerprint?
    private var run: RetryRun
    private var offset: Int64 = 0
    private var total: Int64?
    private var validator: String?
    private var canResume = false
    private var opened: StoreClient.Opened?
    private var iterator: HTTPClientResponse.Body.AsyncIterator?
    /// Bytes of the current answer that were given out before.
    private var surplus: Int64 = 0
    private var hasEnded = false

    /// - Parameter expected: the object as it was submitted.
    init(
        _ client: StoreClient, _ origin: any RequestOrigin, gates: EndpointGates, expected: SourceFingerprint?
    ) {
        self.client = client
        self.origin = origin
        self.gates = gates
        self.expected = expected
        run = RetryRun(client.options.retry)
        validator = expected?.tag.flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// Asks for the object. Once, before `next`.
    package func open() async throws(StoreError) -> ObjectFacts {
        let headers = try await ask()
        let tag = headers.first(name: "ETag")
        if let said = total, let byteCount = expected?.byteCount, said != byteCount {
            throw changed("it has \(said) bytes, not \(byteCount)")
        }
        if let tag, validator == nil { validator = tag }
        canResume = origin.canResume(validator: validator, headers: headers)
        return ObjectFacts(
            byteCount: total,
            modifiedNanoseconds: headers.first(name: "Last-Modified").flatMap { ServerTime.http($0) } ?? 0,
            tag: tag.map { Array($0.utf8) })
    }

    /// The next bytes, nil at the end.
    package func next() async throws(StoreError) -> [UInt8]? {
        while !hasEnded {
            let fault: StoreFault
            do {
                if var piece = try await iterator?.next() {
                    if surplus > 0 {
                        let skipped = Int(min(surplus, Int64(piece.readableBytes)))
                        piece.moveReaderIndex(forwardBy: skipped)
                        surplus -= Int64(skipped)
                    }
                    if piece.readableBytes == 0 { continue }
                    offset += Int64(piece.readableBytes)
                    if let total, offset > total {
                        throw StoreError(.unusable, "\(origin.name): more than the \(total) bytes that were announced")
                    }
                    run.progress()
                    return Array(piece.readableBytesView)
                }
                guard let total, offset < total else {
                    hasEnded = true
                    if let opened { run.succeed(gates.budget(opened.endpoint)) }
                    close()
                    return nil
                }
                fault = StoreFault(CutShort(received: offset, said: total))
            } catch let error as StoreError {
                close()
                throw error
            } catch {
                fault = StoreFault(error)
            }
            let endpoint = opened?.endpoint ?? ""
            close()
            guard canResume || offset == 0 || fault.isCancelled else {
                throw StoreError(
                    .unusable,
                    "\(origin.name): \(fault.reason) after \(offset) bytes, and its server offers no way to go on there"
                )
            }
            try await run.wait(after: fault, of: origin.name, at: endpoint, budget: gates.budget(endpoint))
            _ = try await ask()
        }
        return nil
    }

    private func close() {
        iterator = nil
        opened = nil
    }

    /// Asks for what is missing; checks that it is of the same object.
    private func ask() async throws(StoreError) -> HTTPHeaders {
        let opened = try await client.open(
            origin, gates: gates, from: offset, validator: validator, &run)
        let headers = opened.response.headers
        if let tag = headers.first(name: "ETag"), let validator, Self.bare(tag) != Self.bare(validator) {
            throw changed("its ETag is \(StoreText.plain(tag.utf8)), not \(StoreText.plain(validator.utf8))")
        }
        let said: Int64?
        if opened.response.status == .partialContent {
            guard let range = Self.contentRange(headers.first(name: "Content-Range")), range.first == offset else {
                throw StoreError(.unusable, "\(origin.name): its server gives another part than was asked for")
            }
            said = range.total
            surplus = 0
        } else {
            said = opened.contentLength
            surplus = offset
        }
        if offset > 0, let total, said != total {
            throw changed("it has \(said.map(String.init) ?? "another number of") bytes, not \(total)")
        }
        total = said
        iterator = opened.response.body.makeAsyncIterator()
        self.opened = opened
        return headers
    }

    private func changed(_ how: String) -> StoreError {
        StoreError(.changed, "\(origin.name) was overwritten since it was submitted: \(how); submit it again")
    }

    /// Inventories and some stores leave the quotes out.
    static func bare(_ tag: String) -> Substring {
        tag.hasPrefix("\"") && tag.hasSuffix("\"") && tag.utf8.count >= 2 ? tag.dropFirst().dropLast() : tag[...]
    }

    /// "bytes 10-19/100" → 10 and 100.
    static func contentRange(_ text: String?) -> (first: Int64, total: Int64)? {
        guard let text, text.hasPrefix("bytes ") else { return nil }
        let parts = text.dropFirst(6).split(separator: "/")
        guard parts.count == 2, let total = Int64(parts[1]), let dash = parts[0].firstIndex(of: "-"),
            let first = Int64(parts[0][..<dash]), let last = Int64(parts[0][parts[0].index(after: dash)...]),
            first >= 0, last >= first, total > last
        else { return nil }
        return (first, total)
    }
}
