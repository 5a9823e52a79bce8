// Small operations on descriptors that the standard library lacks.

import CWorkerSandbox
import ClusterModel
import Glibc

/// A file opened for reading: kept open as long as this value.
package final class OpenedSource: Sendable {
    package let descriptor: CInt
    /// Who closes the descriptor; nil: this value.
    private let owner: (any AnyObject & Sendable)?
    /// The job's result, where it is known without recognition: then nothing is handed to the worker.
    package let answer: StoredResult?

    /// Takes over `descriptor`: a regular file or memory file opened for reading. Its offset is neither used nor moved.
    package init(descriptor: CInt) {
        self.descriptor = descriptor
        owner = nil
        answer = nil
    }

    /// Lends a descriptor that `owner` keeps open as long as it lives.
    package init(descriptor: CInt, of owner: any AnyObject & Sendable) {
        self.descriptor = descriptor
        self.owner = owner
        answer = nil
    }

    /// No image: the job's result is known.
    package init(answer: StoredResult) {
        descriptor = -1
        owner = nil
        self.answer = answer
    }

    deinit { if owner == nil, descriptor >= 0 { close(descriptor) } }
}

enum Descriptor {
    /// Writes all bytes, blocking. False when the other end is gone.
    static func writeAll(_ bytes: [UInt8], to socket: CInt) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var sent = 0
            while sent < buffer.count {
                let count = write(socket, buffer.baseAddress.map { $0 + sent }, buffer.count - sent)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return false }
                sent += count
            }
            return true
        }
    }

    /// The text of an errno.
    static func message(_ number: CInt) -> String { String(cString: strerror(number)) }
}

/// Monotonic time in nanoseconds; never set back, counts while the process is stopped.
package enum MonotonicClock {
    /// The clock of `SlotStatistics.jobStarted`.
    package static var now: Instant { Instant(nanoseconds: nanoseconds()) }

    static func nanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// The nanosecond that comes `duration` from now; the last there is for one that never ends.
    static func deadline(after duration: Duration) -> Int64 {
        let (end, overflow) = nanoseconds().addingReportingOverflow(max(.zero, duration).nanoseconds)
        return overflow ? .max : end
    }
}
