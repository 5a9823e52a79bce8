// What a worker process runs: the recogniser, which the pool knows only by this protocol.

import ClusterModel
import CWorkerSandbox

/// Turns the bytes of an image into an encoded result. Lives in a worker process, one for its whole life; called from its
/// only thread.
package protocol WorkerRecogniser {
    /// Recognises one job. Tells `request.progress` when each page begins, before its decoding.
    ///
    /// - Parameter image: the whole file, within `request.limits.bytes`, not empty; valid during the call only.
    /// - Returns: the encoded result, at most `Limits.resultByteCount`, and its digest.
    mutating func recognise(image: UnsafeRawBufferPointer, request: WorkerRequest) throws(Failure) -> StoredResult

    /// Language sets that are loaded now, for affinity.
    var loadedLanguages: [String] { get }
}

/// Tells the node that a page begins: its deadline and processor time start anew.
package struct PageProgress: Hashable, Sendable {
    private let socket: CInt
    private let cpuLimitSeconds: UInt32

    /// Tells nobody: for recognition outside of a worker.
    package static let none = PageProgress(socket: -1, cpuLimitSeconds: 0)

    init(socket: CInt, cpuLimitSeconds: UInt32) {
        self.socket = socket
        self.cpuLimitSeconds = cpuLimitSeconds
    }

    /// Tells the node that the file has so many pages, that the first part of them is recognised, and that the others
    /// are to be jobs of their own. Before the first page, of a job that covers the whole file.
    package func counted(_ pageCount: Int) {
        guard socket >= 0, pageCount > 0 else { return }
        _ = Descriptor.writeAll(Frame.pageCount(UInt32(clamping: pageCount)).encoded, to: socket)
    }

    /// - Parameter page: counted from 1, greater at every call of one job.
    package func pageStarted(_ page: Int) {
        guard socket >= 0, page > 0 else { return }
        if cpuLimitSeconds > 0 { _ = worker_limit_cpu_from_now(UInt64(cpuLimitSeconds)) }
        // Should the node be gone, the answer's write or the parent-death signal ends the process.
        _ = Descriptor.writeAll(Frame.page(UInt32(clamping: page)).encoded, to: socket)
    }
}
