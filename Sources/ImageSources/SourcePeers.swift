// What this target wants of other nodes. The shell carries it over the connections between nodes.
//
// All calls block the calling thread, which is never one of the cooperative pool.

package import ClusterModel
import Synchronization

/// A job's source, asked of another node. The key is that of (batch, source, pages), so that a node can check that the
/// job exists before it opens anything.
package struct SourceRequest: Hashable, Sendable {
    package let key: JobKey
    package let batch: BatchID
    package let source: SourceReference
    package let pages: PageRange
    /// The file as it was submitted: names the spooled copy that is meant.
    package let fingerprint: SourceFingerprint?
    /// Only size, modification time and digest are wanted.
    package let isDigestOnly: Bool

    package init(
        key: JobKey, batch: BatchID, source: SourceReference, pages: PageRange, fingerprint: SourceFingerprint?,
        isDigestOnly: Bool = false
    ) {
        self.key = key
        self.batch = batch
        self.source = source
        self.pages = pages
        self.fingerprint = fingerprint
        self.isDigestOnly = isDigestOnly
    }

    package init(key: JobKey, _ specification: JobSpecification, isDigestOnly: Bool = false) {
        self.init(
            key: key, batch: specification.batch, source: specification.source, pages: specification.pages,
            fingerprint: specification.fingerprint, isDigestOnly: isDigestOnly)
    }
}

/// What a node says about a file before its bytes.
package struct SourceDescription: Hashable, Sendable {
    /// -1 where a web server did not say.
    package let byteCount: Int64
    package let modifiedNanoseconds: Int64
    /// Set where only this was asked for.
    package let digest: SourceDigest?

    package init(byteCount: Int64, modifiedNanoseconds: Int64, digest: SourceDigest?) {
        self.byteCount = byteCount
        self.modifiedNanoseconds = modifiedNanoseconds
        self.digest = digest
    }
}

/// Takes a file as it arrives: `begin` once, then `take` in order. Either answers false to end the call; a call that was
/// answered so ends as `stopped`. Called by one thread at a time, and must not block on anything but memory.
package protocol SourceSink: AnyObject, Sendable {
    func begin(_ description: SourceDescription) -> Bool
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool
}

/// How the reading of a file from another node ended.
package enum SourceReadEnd: Hashable, Sendable {
    /// The other node said that this was all of it.
    case complete
    /// The sink wanted no more.
    case stopped
    /// The other node cannot read the file, and why.
    case failed(Failure)
    /// It knows no such job, or has no copy.
    case notHere(String)
    /// It cannot be asked: dead, gone, cut off, or the connection broke.
    case unreachable(String)
    case cancelled
}

/// Reads files from other nodes.
package protocol SourcePeers: Sendable {
    func readSource(
        _ request: SourceRequest, from node: NodeID, cancellation: SourceCancellation, into sink: any SourceSink
    ) -> SourceReadEnd
}

/// Reads what belongs to no node: objects of stores, files of web servers.
package protocol RemoteSources: Sendable {
    /// Gives an object's bytes, blocking; all of them when it returns success. An answer false of the sink ends it as
    /// success: the sink knows why.
    ///
    /// - Parameter fingerprint: the object as it was submitted; another one is a failure (`objectChanged`).
    func readRemote(
        _ source: SourceReference, fingerprint: SourceFingerprint?, cancellation: SourceCancellation,
        into sink: any SourceSink
    ) -> Result<Void, Failure>
}

/// Ends waiting and calls of one fetch, from any thread.
package final class SourceCancellation: Sendable {
    private struct State {
        var isCancelled = false
        var handlers: [Int: @Sendable () -> Void] = [:]
        var handlerCount = 0
    }

    private let state = Mutex(State())

    package init() {}

    package var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Calls every handler once.
    package func cancel() {
        let handlers = state.withLock { state in
            state.isCancelled = true
            defer { state.handlers = [:] }
            return state.handlers.sorted { $0.key < $1.key }.map(\.value)
        }
        for handler in handlers { handler() }
    }

    /// Runs `body` with a handler that is called at `cancel`, at once if that was before.
    package func withHandler<Value>(_ handler: @escaping @Sendable () -> Void, _ body: () -> Value) -> Value {
        let number: Int? = state.withLock { state in
            guard !state.isCancelled else { return nil }
            state.handlerCount += 1
            state.handlers[state.handlerCount] = handler
            return state.handlerCount
        }
        if number == nil { handler() }
        defer { if let number { state.withLock { $0.handlers[number] = nil } } }
        return body()
    }
}
