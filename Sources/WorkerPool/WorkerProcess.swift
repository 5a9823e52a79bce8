// The worker's side: a process with one thread that reads a job, recognises, answers, and ends with its parent.
//
// Order at the start: hello, parent-death signal, niceness, limits, sandbox, recogniser, ready. The recogniser is made
// inside the sandbox: models are files that somebody downloaded.

import ClusterModel
import CWorkerSandbox
import Glibc

package enum WorkerProcess {
    /// Exit statuses of the worker itself; 0 is the node closing the socket.
    enum ExitStatus {
        static let protocolViolation: CInt = 70
        static let orphaned: CInt = 71
        static let answerLost: CInt = 74
    }

    /// Runs a worker on the socket at descriptor 3 until the node closes it.
    ///
    /// - Parameters:
    ///   - sandbox: nil enters the sandbox when the node's hello says so; a value overrides it.
    ///   - prepare: called before the sandbox closes: for what a library wants to open once.
    ///   - makeRecogniser: called once, inside the sandbox.
    package static func run<Recogniser: WorkerRecogniser>(
        sandbox: SandboxPolicy? = nil, prepare: () -> Void = {}, makeRecogniser: (WorkerHello) -> Recogniser
    ) -> Never {
        var link = WorkerLink(socket: WORKER_SOCKET_DESCRIPTOR)
        guard case .hello(let hello)? = link.receive().frame,
            hello.protocolVersion == WorkerHello.protocolVersion
        else {
            complain("worker: this command is started by a node, not by hand")
            exit(ExitStatus.protocolViolation)
        }
        guard worker_die_with_parent(hello.parentPID) == 0 else { exit(ExitStatus.orphaned) }
        worker_set_name("ocr-worker")
        _ = worker_set_niceness(CInt(hello.niceness))
        if worker_limit_resources(hello.memoryLimitBytes, 64) != 0 { complain("worker: a resource limit was refused") }
        _ = worker_install_new_handler()
        prepare()
        let report = enter(sandbox ?? hello.sandbox, tessdata: hello.tessdata)

        var recogniser = makeRecogniser(hello)
        var languages: [String] = []
        link.send(.ready(WorkerReady(sandbox: report)))
        while true {
            let (frame, descriptor) = link.receive()
            guard case .job(var request)? = frame else { exit(ExitStatus.protocolViolation) }
            if hello.cpuLimitSeconds > 0 { _ = worker_limit_cpu_from_now(UInt64(hello.cpuLimitSeconds)) }
            request.progress = PageProgress(
                socket: WORKER_SOCKET_DESCRIPTOR, cpuLimitSeconds: hello.cpuLimitSeconds)
            let answer = answer(request, image: descriptor, with: &recogniser)
            let loaded = recogniser.loadedLanguages
            if loaded != languages {
                languages = loaded
                link.send(.languages(loaded))
            }
            link.send(answer)
        }
    }

    private static func answer(
        _ request: WorkerRequest, image descriptor: CInt, with recogniser: inout some WorkerRecogniser
    ) -> Frame {
        do throws(Failure) {
            let image = try ImageBytes(reading: descriptor, limit: request.limits.bytes)
            let result = try recogniser.recognise(image: image.bytes, request: request)
            guard result.body.count <= Limits.resultByteCount else {
                throw Failure(.engineError, "the result has \(result.body.count) bytes, more than can be stored")
            }
            return .result(result)
        } catch {
            return .failure(error)
        }
    }

    private static func enter(_ policy: SandboxPolicy, tessdata: String) -> SandboxReport {
        guard policy == .enforced else { return SandboxReport(policy: .off) }
        var report = worker_sandbox_report()
        let paths = ([tessdata] + SandboxFonts.directories).map { strdup($0) }
        defer { for path in paths { free(path) } }
        let readable = paths.map { UnsafePointer($0) }
        worker_sandbox_enter(readable, readable.count, &report)
        return SandboxReport(
            policy: .enforced, landlockABI: Int(report.landlock_abi), seccomp: report.seccomp == 1,
            noNewPrivileges: report.no_new_privs == 1, noCapabilities: report.no_capabilities == 1,
            landlockError: Int(report.landlock_error), seccompError: Int(report.seccomp_error))
    }

    private static func complain(_ line: String) {
        _ = Descriptor.writeAll(Array((line + "\n").utf8), to: STDERR_FILENO)
    }
}

/// The worker's end of the socket. Ends the process when the node is gone.
private struct WorkerLink {
    let socket: CInt
    private var reader = FrameReader()

    init(socket: CInt) { self.socket = socket }

    func send(_ frame: Frame) {
        guard Descriptor.writeAll(frame.encoded, to: socket) else { exit(WorkerProcess.ExitStatus.answerLost) }
    }

    /// The next frame and the descriptor that came with it, or -1. Nil for bytes that are not a frame.
    mutating func receive() -> (frame: Frame?, descriptor: CInt) {
        var held: CInt = -1
        while true {
            do throws(FrameError) {
                if let frame = try reader.next() { return (frame, held) }
            } catch {
                return (nil, held)
            }
            withUnsafeTemporaryAllocation(byteCount: 4_096, alignment: 8) { buffer in
                var descriptor: CInt = -1
                let count = worker_receive(socket, buffer.baseAddress, buffer.count, &descriptor)
                if count <= 0 { exit(0) }
                if descriptor >= 0 {
                    if held >= 0 { close(held) }
                    held = descriptor
                }
                reader.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        }
    }
}
