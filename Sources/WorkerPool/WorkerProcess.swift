// The child's side: confine, say ready, then one request after the other until the node hangs up.
//
// A worker never decides anything: it has no names, no network, no clock that matters. What it cannot do it says in a
// failure frame; when it dies, the node names the death.

package import ClusterModel
import CWorkerSandbox
import Glibc

/// Whether a worker gives up its rights.
package enum SandboxPolicy: String, Hashable, Sendable {
    case enforced, off
}

/// The recogniser inside a worker.
package protocol WorkerRecogniser {
    /// Recognises one image. `pageBegins` is told each page before it is decoded.
    mutating func recognise(
        image: UnsafeRawBufferPointer, request: WorkerRequest, pageBegins: (Int) -> Void
    ) throws(Failure) -> StoredResult
}

/// What the parent put on the command line of a worker: `worker PARENT SANDBOX MEMORY NICE TESSDATA`.
package struct WorkerArguments: Hashable, Sendable {
    package var parent: Int32
    package var sandbox: SandboxPolicy
    package var memoryBytes: UInt64
    package var niceness: Int32
    package var tessdata: String

    package init(parent: Int32, sandbox: SandboxPolicy, memoryBytes: UInt64, niceness: Int32, tessdata: String) {
        self.parent = parent
        self.sandbox = sandbox
        self.memoryBytes = memoryBytes
        self.niceness = niceness
        self.tessdata = tessdata
    }

    /// Reads the arguments after the word `worker`; nil when they are not those of a worker.
    package init?(_ arguments: [String]) {
        guard arguments.count == 5, let parent = Int32(arguments[0]),
            let sandbox = SandboxPolicy(rawValue: arguments[1]), let memory = UInt64(arguments[2]),
            let niceness = Int32(arguments[3])
        else { return nil }
        self.init(
            parent: parent, sandbox: sandbox, memoryBytes: memory, niceness: niceness, tessdata: arguments[4])
    }

    var text: [String] {
        ["\(parent)", sandbox.rawValue, "\(memoryBytes)", "\(niceness)", tessdata]
    }
}

package enum WorkerProcess {
    /// Exit codes of a worker that could not begin; the parent shows its standard error.
    private static let cannotConfine: Int32 = 71

    /// Runs a worker until its socket closes. `makeRecogniser` is called before the rights are given up.
    package static func run(
        _ arguments: WorkerArguments, makeRecogniser: () -> some WorkerRecogniser
    ) -> Never {
        guard worker_die_with_parent(arguments.parent) == 0 else { exit(0) }
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, arguments.niceness)
        var recogniser = makeRecogniser()
        let confinement = confine(arguments)
        send(.ready(confinement))
        var buffer: [UInt8] = []
        while let (request, descriptor) = receive(&buffer) {
            _ = worker_limit_cpu(UInt64(clamping: request.cpuSeconds))
            let frame: WorkerFrame
            do throws(Failure) {
                frame = .result(try answer(to: request, descriptor, &recogniser))
            } catch {
                frame = .failure(error)
            }
            close(descriptor)
            send(frame)
        }
        exit(0)
    }

    private static func confine(_ arguments: WorkerArguments) -> Confinement {
        func require(_ status: Int32, _ what: String) {
            guard status != 0 else { return }
            fail("\(what): \(String(cString: strerror(status)))")
        }
        require(worker_set_limits(arguments.memoryBytes), "setting limits")
        guard arguments.sandbox == .enforced else { return .none }
        require(worker_no_new_privileges(), "no_new_privs")
        let abi = worker_landlock(arguments.tessdata)
        if abi < 0 { fail("landlock: \(String(cString: strerror(-abi)))") }
        require(worker_seccomp(), "seccomp")
        return Confinement(seccomp: true, landlockABI: Int(abi), noNewPrivileges: true)
    }

    private static func fail(_ message: String) -> Never {
        let line = "worker: \(message)\n"
        _ = line.withCString { write(2, $0, strlen($0)) }
        exit(cannotConfine)
    }

    private static func answer(
        to request: WorkerRequest, _ descriptor: Int32, _ recogniser: inout some WorkerRecogniser
    ) throws(Failure) -> StoredResult {
        let bytes = try read(descriptor, limit: request.maximumBytes)
        let outcome: Result<StoredResult, Failure> = bytes.withUnsafeBytes { image in
            do throws(Failure) {
                return .success(
                    try recogniser.recognise(image: image, request: request) { number in send(.page(number)) })
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Reads the whole file. It is read, not mapped: a file that shrinks must not kill the worker.
    private static func read(_ descriptor: Int32, limit: Int) throws(Failure) -> [UInt8] {
        let size = Int(max(0, lseek(descriptor, 0, SEEK_END)))
        lseek(descriptor, 0, SEEK_SET)
        guard size <= limit else {
            throw Failure(.tooManyBytes, "\(size) bytes, more than \(limit) (limit max_bytes)")
        }
        var failure: Failure?
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let got = Glibc.read(descriptor, buffer.baseAddress.map { $0 + count }, size - count)
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = Failure(.sourceUnreadable, String(cString: strerror(errno))) }
                if got <= 0 { break }
                count += got
            }
        }
        if let failure { throw failure }
        return bytes
    }

    private static func send(_ frame: WorkerFrame) {
        // When the node is gone there is nobody to tell.
        guard worker_send(WORKER_SOCKET, frame.encoded, frame.encoded.count, -1) == 0 else { exit(0) }
    }

    /// The next request and its descriptor; nil at the end of the connection. A malformed request ends the worker.
    private static func receive(_ buffer: inout [UInt8]) -> (WorkerRequest, Int32)? {
        var descriptor: Int32 = -1
        while true {
            do throws(WorkerFrame.Malformed) {
                if let (frame, count) = try WorkerFrame.decode(buffer) {
                    buffer.removeFirst(count)
                    guard case .request(let request) = frame, descriptor >= 0 else { fail("an unexpected frame") }
                    return (request, descriptor)
                }
            } catch {
                fail("a malformed frame: \(error.what)")
            }
            var chunk = [UInt8](repeating: 0, count: 4_096)
            var received: Int32 = -1
            let count = worker_receive(WORKER_SOCKET, &chunk, chunk.count, &received)
            if received >= 0 { descriptor = received }
            guard count > 0 else { return nil }
            buffer += chunk[..<count]
        }
    }
}
