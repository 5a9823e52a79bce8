// How a worker ended, as a failure with a name.

import ClusterModel
import CWorkerSandbox
import Glibc

/// The end of a process.
struct WorkerDeath {
    let wasSignalled: Bool
    /// Exit status, or number of the signal.
    let code: CInt
    let cpuSeconds: Double
    /// Last of what it wrote to standard error.
    let lastWords: String

    /// - Parameter insideFrame: whether the socket ended in the middle of a message.
    func failure(insideFrame: Bool) -> Failure {
        wasSignalled ? signalFailure : exitFailure(insideFrame: insideFrame)
    }

    private var signalFailure: Failure {
        switch code {
        case SIGXCPU: Failure(.cpuLimit, "the worker used up the processor time of a page")
        case SIGKILL: told(.workerKilled, "the worker was killed from outside (SIGKILL; out-of-memory killer?)")
        case SIGTERM, SIGINT, SIGHUP, SIGQUIT: told(.workerKilled, "the worker was ended from outside (\(name))")
        case SIGSYS: told(.workerCrashed, "the worker was stopped by its sandbox: a forbidden system call (SIGSYS)")
        // The runtimes of Swift and C++ abort when an allocation fails: their last words tell it from a defect.
        case _ where lastWords.contains("failed to allocate") || lastWords.contains("bad_alloc"):
            told(.outOfMemory, "the worker reached its memory limit")
        default: told(.workerCrashed, "the worker crashed (\(name))")
        }
    }

    private func exitFailure(insideFrame: Bool) -> Failure {
        switch code {
        case WORKER_OUT_OF_MEMORY_STATUS: told(.outOfMemory, "the worker reached its memory limit")
        case 0 where insideFrame: told(.workerProtocol, "the worker ended in the middle of a message")
        default: told(.workerCrashed, "the worker ended without an answer (exit status \(code))")
        }
    }

    private var name: String {
        switch code {
        case SIGABRT: "SIGABRT"
        case SIGSEGV: "SIGSEGV"
        case SIGBUS: "SIGBUS"
        case SIGILL: "SIGILL"
        case SIGFPE: "SIGFPE"
        case SIGTRAP: "SIGTRAP"
        case SIGTERM: "SIGTERM"
        case SIGINT: "SIGINT"
        case SIGHUP: "SIGHUP"
        case SIGQUIT: "SIGQUIT"
        default: "signal \(code)"
        }
    }

    private func told(_ code: Failure.Code, _ text: String) -> Failure {
        Failure(code, lastWords.isEmpty ? text : "\(text): \(lastWords)")
    }
}
