// A worker as its slot's thread holds it: process, socket, and the tail of its standard error.

import ClusterModel
import CWorkerSandbox
import Glibc

/// Owned by one slot's thread. `bury` must be called exactly once: until then the pid cannot name another process.
final class WorkerChild {
    /// Why `wait` returned.
    enum Arrival {
        case frame(Frame)
        case broken(FrameError)
        /// The process ended, or closed its socket.
        case ended
        /// Something happened at the wake descriptor.
        case woken
        case timeout
    }

    let pid: pid_t
    var jobs = 0
    private let socket: CInt
    private let errors: CInt
    /// Readable when the process has ended; -1 before Linux 5.3.
    private let process: CInt
    private var reader = FrameReader()
    private var errorTail = ErrorTail()
    private var errorsAreOpen = true
    private var hasEnded = false

    private static let chunkByteCount = 65_536

    private init(pid: pid_t, socket: CInt, errors: CInt) {
        self.pid = pid
        self.socket = socket
        self.errors = errors
        process = worker_pid_descriptor(pid)
    }

    deinit {
        close(socket)
        close(errors)
        if process >= 0 { close(process) }
    }

    var isInsideFrame: Bool { reader.isInsideFrame }

    /// Spawns a worker and sends it `hello`. The text of the failure says what could not be done.
    static func spawn(_ configuration: WorkerPoolConfiguration, hello: WorkerHello) -> Result<WorkerChild, Failure> {
        func failed(_ what: String, _ status: CInt) -> Result<WorkerChild, Failure> {
            .failure(Failure(.workerCrashed, "\(what): \(Descriptor.message(-status))"))
        }
        var sockets: [CInt] = [-1, -1]
        var status = worker_socket_pair(&sockets)
        guard status == 0 else { return failed("cannot make a socket for a worker", status) }
        defer { close(sockets[1]) }
        var pipe: [CInt] = [-1, -1]
        status = worker_pipe(&pipe)
        guard status == 0 else {
            close(sockets[0])
            return failed("cannot make a pipe for a worker", status)
        }
        defer { close(pipe[1]) }
        let environment = [
            "OMP_THREAD_LIMIT=1", "SWIFT_BACKTRACE=enable=no", "LC_ALL=C", "TESSDATA_PREFIX=\(configuration.tessdata)",
        ]
        var pid: pid_t = 0
        status = withCStrings([shownName(of: configuration.executable)] + configuration.arguments) { arguments in
            withCStrings(environment) { environment in
                worker_spawn(&pid, configuration.executable, arguments, environment, sockets[1], pipe[1])
            }
        }
        guard status == 0 else {
            close(sockets[0])
            close(pipe[0])
            return failed("cannot run \(configuration.executable)", status)
        }
        let child = WorkerChild(pid: pid, socket: sockets[0], errors: pipe[0])
        // A hello that cannot be sent shows as an early end, which names the reason better.
        _ = child.send(.hello(hello), descriptor: -1, by: MonotonicClock.deadline(after: .seconds(1)))
        return .success(child)
    }

    /// What is written to standard error from here on belongs to a new job.
    func forgetErrors() { errorTail = ErrorTail() }

    /// Sends a frame; false when the worker is gone or does not take it in time.
    func send(_ frame: Frame, descriptor: CInt, by deadline: Int64) -> Bool {
        let bytes = frame.encoded
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                worker_send(
                    socket, buffer.baseAddress.map { $0 + sent }, buffer.count - sent, sent == 0 ? descriptor : -1)
            }
            if count > 0 {
                sent += count
            } else if count == -Int(EAGAIN) {
                let left = deadline - MonotonicClock.nanoseconds()
                guard left > 0 else { return false }
                var wait = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
                poll(&wait, 1, CInt(clamping: left / 1_000_000 + 1))
            } else {
                return false
            }
        }
        return true
    }

    /// Waits for a frame, an end, a wake, or the deadline (nil waits for ever).
    func wait(until deadline: Int64?, wake: CInt) -> Arrival {
        while true {
            do throws(FrameError) {
                if let frame = try reader.next() { return .frame(frame) }
            } catch {
                return .broken(error)
            }
            if hasEnded { return .ended }
            var timeout: CInt = -1
            if let deadline {
                let left = deadline - MonotonicClock.nanoseconds()
                if left <= 0 { return .timeout }
                timeout = CInt(clamping: left / 1_000_000 + 1)
            }
            // poll ignores negative descriptors.
            var waits = [
                pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
                pollfd(fd: errorsAreOpen ? errors : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: process, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waits, 4, timeout) > 0 else { continue }
            if waits[1].revents != 0 { readErrors() }
            if waits[0].revents != 0 { receive() }
            // What it wrote before its end counts: everything is read first.
            if waits[2].revents != 0 { while !hasEnded && receive() {}; hasEnded = true }
            if waits[3].revents != 0 {
                if let frame = (try? reader.next()) ?? nil { return .frame(frame) }
                return .woken
            }
        }
    }

    /// Reads what is there; false when there is nothing now.
    @discardableResult
    private func receive() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: Self.chunkByteCount, alignment: 16) { buffer in
            let count = recv(socket, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT))
            if count > 0 {
                reader.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                return true
            }
            if count < 0 && (errno == EAGAIN || errno == EINTR) { return false }
            hasEnded = true
            return false
        }
    }

    private var hasErrors: Bool {
        var wait = pollfd(fd: errors, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, 0) > 0
    }

    private func readErrors() {
        withUnsafeTemporaryAllocation(byteCount: ErrorTail.byteCount, alignment: 1) { buffer in
            // One piece at a time: a worker that writes without end must not keep this thread.
            let count = read(errors, buffer.baseAddress, buffer.count)
            if count > 0 { errorTail.append(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            if count == 0 { errorsAreOpen = false }
        }
    }

    /// Ends the process if it still lives, and reaps it.
    ///
    /// - Parameter patience: time to end by itself before SIGKILL: the status of one that is dying anyway tells why.
    func bury(patience: Duration = .zero) -> WorkerDeath {
        var signalled: CInt = 0
        var code: CInt = 0
        var cpuSeconds = 0.0
        if patience > .zero, process >= 0 {
            var wait = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
            poll(&wait, 1, CInt(clamping: patience.nanoseconds / 1_000_000))
        }
        if worker_wait(pid, WNOHANG, &signalled, &code, &cpuSeconds) == 0 {
            kill(pid, SIGKILL)
            _ = worker_wait(pid, 0, &signalled, &code, &cpuSeconds)
        }
        // Bounded: the pipe holds a few pieces, and a stranger may hold its other end.
        for _ in 0..<64 where errorsAreOpen && hasErrors { readErrors() }
        return WorkerDeath(
            wasSignalled: signalled == 1, code: code, cpuSeconds: cpuSeconds, lastWords: errorTail.lastWords)
    }

    /// What `ps` shows as the program: the file behind `/proc/self/exe`, for that name would say nothing there.
    private static func shownName(of executable: String) -> String {
        guard executable == WorkerPoolConfiguration.ownExecutable else { return executable }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress else { return executable }
            let count = readlink(executable, start, buffer.count)
            guard count > 0 else { return executable }
            return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
        }
    }

    private static func withCStrings<Value>(
        _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers = strings.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return body(&pointers)
    }
}

/// What /proc says of a living process.
enum ProcessFigures {
    static func rssBytes(of pid: pid_t) -> Int {
        let fields = fields(of: "/proc/\(pid)/statm")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(getpagesize()) : 0
    }

    static func cpuSeconds(of pid: pid_t) -> Double {
        // The fields after the command's name, which may hold anything, are counted from its closing parenthesis.
        let fields = fields(of: "/proc/\(pid)/stat", after: UInt8(ascii: ")"))
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) / Double(sysconf(CInt(_SC_CLK_TCK)))
    }

    private static func fields(of path: String, after mark: UInt8? = nil) -> [Substring] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1_024)
        let count = max(0, read(descriptor, &bytes, bytes.count))
        var text = bytes[..<count]
        if let mark, let position = text.lastIndex(of: mark) { text = text[(position + 1)...] }
        return String(decoding: text, as: UTF8.self).split(separator: " ")
    }
}
