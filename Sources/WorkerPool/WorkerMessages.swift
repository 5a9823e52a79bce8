// What node and worker say to each other.

import ClusterModel

/// Bounds on one image, checked by the worker before it decodes.
package struct ImageLimits: Hashable, Sendable {
    /// Width times height of a page.
    package var pixels: Int
    /// Size of the file.
    package var bytes: Int
    /// Pages of the file.
    package var pages: Int
    /// Longer side of a page, in pixels.
    package var side: Int

    package static let standard = ImageLimits()

    package init(pixels: Int = 100_000_000, bytes: Int = 256 << 20, pages: Int = 2_000, side: Int = 32_767) {
        self.pixels = pixels
        self.bytes = bytes
        self.pages = pages
        self.side = side
    }
}

/// The node's first message: everything that stays the same for the life of the worker.
package struct WorkerHello: Hashable, Sendable {
    /// Of node and worker; both come from one binary, so that a difference means that it was replaced in between.
    package static let protocolVersion: UInt16 = 1

    package var protocolVersion: UInt16 = WorkerHello.protocolVersion
    package var slot: Int
    package var parentPID: Int32
    /// Directory of the models.
    package var tessdata: String
    package var niceness: Int
    /// 0 is unlimited.
    package var memoryLimitBytes: UInt64
    /// Per page; the recogniser's own, 0 is none.
    package var softDeadlineMs: UInt32
    /// Processor time per page; 0 is unlimited.
    package var cpuLimitSeconds: UInt32
    package var limits: ImageLimits
    package var sandbox: SandboxPolicy

    package init(
        slot: Int, parentPID: Int32, tessdata: String, niceness: Int, memoryLimitBytes: UInt64, softDeadlineMs: UInt32,
        cpuLimitSeconds: UInt32, limits: ImageLimits, sandbox: SandboxPolicy
    ) {
        self.slot = slot
        self.parentPID = parentPID
        self.tessdata = tessdata
        self.niceness = niceness
        self.memoryLimitBytes = memoryLimitBytes
        self.softDeadlineMs = softDeadlineMs
        self.cpuLimitSeconds = cpuLimitSeconds
        self.limits = limits
        self.sandbox = sandbox
    }
}

/// The worker's first message: it may be given jobs.
package struct WorkerReady: Hashable, Sendable {
    package var protocolVersion: UInt16 = WorkerHello.protocolVersion
    package var sandbox: SandboxReport

    package init(sandbox: SandboxReport) { self.sandbox = sandbox }
}

/// One job for a worker; the image's descriptor travels beside it, its name does not.
package struct WorkerRequest: Hashable, Sendable {
    package var key: JobKey
    package var language: String
    package var profile: Profile
    package var pages: PageRange
    package var limits: ImageLimits
    /// To be told when recognition of a page begins. Set by the worker process; not part of the message.
    package var progress = PageProgress.none

    package init(key: JobKey, language: String, profile: Profile, pages: PageRange, limits: ImageLimits) {
        self.key = key
        self.language = language
        self.profile = profile
        self.pages = pages
        self.limits = limits
    }
}

/// What passes over the socket.
package enum Frame: Hashable, Sendable {
    case hello(WorkerHello)
    case job(WorkerRequest)
    case ready(WorkerReady)
    /// The number of the page whose recognition begins, counted from 1. Restarts the deadlines.
    case page(UInt32)
    /// The file's pages, when it has more than one job is to cover; the answer is then that of its first part.
    case pageCount(UInt32)
    /// Languages that the worker has loaded now; sent before an answer when they changed.
    case languages([String])
    case result(StoredResult)
    case failure(Failure)
}
