// How workers are run.

import ClusterModel

package struct WorkerPoolConfiguration: Sendable {
    /// The running binary itself, even when its file was replaced meanwhile: node and worker always match.
    package static let ownExecutable = "/proc/self/exe"

    package var executable: String
    package var arguments: [String]
    /// 1...`Limits.workerCount`.
    package var slots: Int
    /// Directory of the models: all that a sandboxed worker may read.
    package var tessdata: String
    /// Added to the node's own, 0...19.
    package var niceness = 10
    /// Address space of one worker; 0 is unlimited (needed under AddressSanitizer).
    package var memoryLimitBytes: UInt64 = 4 << 30
    /// Per page, asked of the recogniser; should be below `hardDeadline`. Zero is none.
    package var softDeadline = Duration.seconds(150)
    /// Per page, by SIGKILL. The first page's counts from the handing over of the job.
    package var hardDeadline = Duration.seconds(180)
    /// Processor time per page, by SIGXCPU, whole seconds; zero is unlimited. Above `hardDeadline` it never strikes.
    package var cpuLimit = Duration.seconds(180)
    /// From the spawn of a worker to its readiness, by SIGKILL.
    package var startDeadline = Duration.seconds(30)
    /// Pause after a failed start, doubled with each further one up to `startBackoffLimit`.
    package var startBackoff = Duration.milliseconds(100)
    package var startBackoffLimit = Duration.seconds(30)
    package var recycleAfterJobs = 500
    package var recycleRSSBytes = 1_536 << 20
    package var sandbox = SandboxPolicy.enforced
    package var limits = ImageLimits.standard

    package init(
        executable: String = WorkerPoolConfiguration.ownExecutable, arguments: [String] = ["worker"], slots: Int,
        tessdata: String
    ) {
        self.executable = executable
        self.arguments = arguments
        self.slots = slots
        self.tessdata = tessdata
    }
}

/// What an operator may want to hear of; the renderer of logs and metrics is elsewhere.
package enum WorkerEvent: Hashable, Sendable {
    case started(slot: SlotIndex, pid: Int32, sandbox: SandboxReport)
    /// A worker could not be started; jobs of the slot wait. `consecutive` counts from 1.
    case startFailed(slot: SlotIndex, detail: String, consecutive: Int, retryIn: Duration)
    /// A worker ended that was not asked to. `job` is what it was running.
    case died(slot: SlotIndex, pid: Int32, job: JobKey?, failure: Failure)
    case recycled(slot: SlotIndex, pid: Int32, jobs: Int, rssBytes: Int)
}

/// What a slot does now.
package struct SlotStatistics: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case starting, idle, busy, backingOff = "backing-off", stopped
    }

    package var state = State.starting
    package var pid: Int32?
    /// What it works at, and what of it people are told.
    package var job: JobKey?
    package var source: SourceReference?
    package var jobLanguage: String?
    /// When the running job was handed over.
    package var jobStarted: Instant?
    package var jobsDone = 0
    /// Workers started after the first.
    package var restarts = 0
    /// Those that the living worker has loaded.
    package var languages: [String] = []
    /// Of the living worker; 0 where it cannot be read.
    package var rssBytes = 0
    /// Of all workers of this slot so far, the living one included.
    package var cpuSeconds = 0.0

    package init() {}

    mutating func begin(_ assignment: Assignment, at now: Instant) {
        state = .busy
        job = assignment.key
        source = assignment.specification.source
        jobLanguage = assignment.specification.language
        jobStarted = now
    }

    mutating func endJob() {
        job = nil
        source = nil
        jobLanguage = nil
        jobStarted = nil
    }
}
