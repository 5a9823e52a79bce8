// A worker process as its slot holds it: the socket, the tail of its standard error, and its end.

import CWorkerSandbox
internal import ClusterModel
import Glibc

/// Owned by one slot's thread.
final class WorkerChild {
    enum Received {
        case frame(WorkerFrame)
        case malformed(String)
        case ended
        case deadline
        case stopped
    }

    let processID: Int32
    private let socket: Int32
    private let errors: Int32
    private var buffer: [UInt8] = []
    private var errorTail: [UInt8] = []
    var jobCount = 0

    private static let errorTailByteCount = 2_048
    /// How often a wait looks whether the slot is to stop.
    private static let stopCheckMs: Int32 = 100

    private init(processID: Int32, socket: Int32, errors: Int32) {
        self.processID = processID
        self.socket = socket
        self.errors = errors
    }

    deinit {
        close(socket)
        close(errors)
    }

    /// Spawns a worker and waits for its ready frame.
    static func start(
        _ configuration: WorkerPoolConfiguration
    ) -> Result<(WorkerChild, Confinement), Failure> {
        var sockets: [Int32] = [-1, -1]
        guard worker_socket_pair(&sockets) == 0 else { return .failure(Failure(.workerCrashed, "no socket pair")) }
        var pipes: [Int32] = [-1, -1]
        guard worker_error_pipe(&pipes) == 0 else {
            close(sockets[0])
            close(sockets[1])
            return .failure(Failure(.workerCrashed, "no pipe"))
        }
        let arguments = WorkerArguments(
            parent: getpid(), sandbox: configuration.sandbox, memoryBytes: configuration.memoryBytes,
            niceness: configuration.niceness, tessdata: configuration.tessdata)
        let environment = [
            "OMP_THREAD_LIMIT=1", "SWIFT_BACKTRACE=enable=no", "LC_ALL=C", "TESSDATA_PREFIX=\(configuration.tessdata)",
        ]
        var process: pid_t = 0
        let status = withCStrings([configuration.executable] + configuration.mode + arguments.text) { argv in
            withCStrings(environment) { envp in
                worker_spawn(configuration.executable, argv, envp, sockets[1], pipes[1], &process)
            }
        }
        close(sockets[1])
        close(pipes[1])
        let child = WorkerChild(processID: process, socket: sockets[0], errors: pipes[0])
        guard status == 0 else {
            return .failure(
                Failure(.workerCrashed, "\(configuration.executable): \(String(cString: strerror(status)))"))
        }
        switch child.receive(until: .now + configuration.startDeadline, orUntil: { nil }) {
        case .frame(.ready(let confinement)): return .success((child, confinement))
        case .ended: return .failure(child.bury(kill: false).0)
        default:
            _ = child.bury(kill: true)
            return .failure(Failure(.workerCrashed, "the worker was not ready in time"))
        }
    }

    func send(_ frame: WorkerFrame, descriptor: Int32) -> Int32 {
        let bytes = frame.encoded
        return worker_send(socket, bytes, bytes.count, descriptor)
    }

    /// Waits for the next frame until the deadline, or until the stop that `orUntil` tells.
    func receive(
        until deadline: ContinuousClock.Instant, orUntil stop: () -> ContinuousClock.Instant?
    ) -> Received {
        while true {
            do throws(WorkerFrame.Malformed) {
                if let (frame, count) = try WorkerFrame.decode(buffer) {
                    buffer.removeFirst(count)
                    return .frame(frame)
                }
            } catch {
                return .malformed(error.what)
            }
            let now = ContinuousClock.now
            if now >= deadline { return .deadline }
            if let stop = stop(), now >= stop { return .stopped }
            let left = Int32(clamping: (deadline - now).nanoseconds / 1_000_000 + 1)
            var waits = [
                pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
                pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waits, 2, min(left, Self.stopCheckMs)) > 0 else { continue }
            if waits[1].revents != 0 { readErrors() }
            guard waits[0].revents != 0 else { continue }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            var descriptor: Int32 = -1
            let count = worker_receive(socket, &chunk, chunk.count, &descriptor)
            // A worker has no business sending descriptors.
            if descriptor >= 0 { close(descriptor) }
            guard count > 0 else { return buffer.isEmpty ? .ended : .malformed("a frame that was cut off") }
            buffer += chunk[..<count]
        }
    }

    private func readErrors() {
        var chunk = [UInt8](repeating: 0, count: 1_024)
        let count = read(errors, &chunk, chunk.count)
        guard count > 0 else {
            // Closed by the child: not worth waking up for.
            if count == 0 { poll(nil, 0, 1) }
            return
        }
        errorTail = Array((errorTail + chunk[..<count]).suffix(Self.errorTailByteCount))
    }

    /// Resident memory; 0 where it cannot be read.
    var residentBytes: Int {
        let descriptor = open("/proc/\(processID)/statm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var text = [UInt8](repeating: 0, count: 128)
        let count = read(descriptor, &text, text.count)
        guard count > 0 else { return 0 }
        let fields = String(decoding: text[..<count], as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(getpagesize()) : 0
    }

    /// Ends an idle child: it exits when its socket closes. Returns its CPU time in microseconds.
    func end() -> UInt64 {
        shutdown(socket, Int32(SHUT_RDWR))
        return reap(killAfter: .seconds(2)).cpu
    }

    /// Reaps a child, killed first if it still lives and `kill` says so, and names how it died.
    func bury(kill: Bool) -> (Failure, cpuMicroseconds: UInt64) {
        if kill { Glibc.kill(processID, SIGKILL) }
        let (status, cpu) = reap(killAfter: .seconds(2))
        readErrors()
        return (name(status), cpu)
    }

    private func reap(killAfter patience: Duration) -> (status: Int32, cpu: UInt64) {
        var status: Int32 = 0
        var cpu: UInt64 = 0
        let end = ContinuousClock.now + patience
        while ContinuousClock.now < end {
            if worker_reap(processID, 0, &status, &cpu) != 0 { return (status, cpu) }
            poll(nil, 0, 1)
        }
        Glibc.kill(processID, SIGKILL)
        _ = worker_reap(processID, 1, &status, &cpu)
        return (status, cpu)
    }

    private func name(_ status: Int32) -> Failure {
        let said =
            String(decoding: errorTail, as: UTF8.self).split(whereSeparator: \.isNewline).last.map { ": \($0)" } ?? ""
        let signal = status & 0x7F
        if signal == 0 {
            let code = (status >> 8) & 0xFF
            if code == 77 { return Failure(.outOfMemory, "the worker reached its memory limit\(said)") }
            return Failure(.workerCrashed, "the worker ended without an answer (exit \(code))\(said)")
        }
        switch signal {
        case SIGKILL:
            return Failure(.workerKilled, "the worker was killed (signal 9; the kernel short of memory?)\(said)")
        case SIGXCPU: return Failure(.cpuLimit, "the worker used up its CPU time")
        case SIGABRT where said.contains("alloc"):
            return Failure(.outOfMemory, "the worker reached its memory limit\(said)")
        default:
            return Failure(
                .workerCrashed, "the worker died of signal \(signal) (\(String(cString: strsignal(signal))))\(said)")
        }
    }

    private static func withCStrings<Value>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers = strings.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return body(&pointers)
    }
}
