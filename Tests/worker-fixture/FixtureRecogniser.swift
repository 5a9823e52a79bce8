import CHostileProbe
import ClusterModel
import Glibc
import WorkerPool

struct FixtureRecogniser: WorkerRecogniser {
    let hello: WorkerHello
    var loadedLanguages: [String] = []

    init(hello: WorkerHello) { self.hello = hello }

    mutating func recognise(image: UnsafeRawBufferPointer, request: WorkerRequest) throws(Failure) -> StoredResult {
        if request.language.hasPrefix("hostile-") { return report(hostile(String(request.language.dropFirst(8)))) }
        switch request.language {
        case "ok": break
        case "bytes":
            loadedLanguages = ["bytes"]
            return StoredResult(digest: Bits128(high: 1, low: UInt64(image.count)), body: Array(image))
        case "environment":
            var lines: [String] = []
            var entry = environ
            while let text = entry.pointee {
                lines.append(String(cString: text))
                entry += 1
            }
            return report(lines)
        case "figures":
            let nice = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
            var open: [String] = []
            for descriptor in CInt(0)..<64 where fcntl(descriptor, F_GETFD) >= 0 { open.append("\(descriptor)") }
            return report(["nice=\(nice)", "descriptors=\(open.joined(separator: ","))"])
        case "failure": throw Failure(.undecodable, "not an image")
        case "malformed-result": return StoredResult(digest: Bits128(high: 0, low: 0), body: [])
        case "abort":
            complain("assertion of the fixture")
            abort()
        case "segfault":
            UnsafeMutableRawPointer(bitPattern: 16)?.storeBytes(of: 1, as: Int.self)
        case "exit0": exit(0)
        case "exit3": exit(3)
        case "exit77": exit(77)
        case "oom-malloc":
            while malloc(64 << 20) != nil {}
            exit(77)
        case "oom-swift": while true { _ = UnsafeMutableRawPointer.allocate(byteCount: 64 << 20, alignment: 16) }
        case "oom-new":
            // operator new by its symbol: reaches the new-handler that the worker installed.
            guard let symbol = dlsym(nil, "_Znwm") else { exit(99) }
            let allocate = unsafeBitCast(symbol, to: (@convention(c) (Int) -> UnsafeMutableRawPointer?).self)
            while true { _ = allocate(64 << 20) }
        case "sigkill":
            // From outside, as the kernel's out-of-memory killer: the test sends it.
            hang()
        case "hang":
            probe_ignore_signals()
            hang()
        case "spin":
            var value: UInt64 = 1
            while value != 0 { value = value &* 3 | 1 }
        case "garbage": send((0..<64).map { UInt8(truncatingIfNeeded: $0 &* 37 | 0x80) })
        case "oversize": send([0xFF, 0xFF, 0xFF, 0x7F, 19])
        case "truncated":
            let bytes: [UInt8] = [100, 0, 0, 0, 19, 1, 2, 3]
            _ = write(3, bytes, bytes.count)
            exit(0)
        case "counts": request.progress.counted(20)
        case "counts-little": request.progress.counted(8)
        case "counts-much": request.progress.counted(hello.limits.pages + 1)
        case "counts-twice":
            request.progress.counted(20)
            request.progress.counted(20)
        case "counts-late":
            request.progress.pageStarted(1)
            request.progress.counted(20)
        case "page-flood": while true { request.progress.pageStarted(1) }
        case "slowpages":
            // Each page within the deadline, all of them far beyond it.
            for page in 1...6 {
                request.progress.pageStarted(page)
                var wait = pollfd(fd: -1, events: 0, revents: 0)
                poll(&wait, 1, 250)
            }
        default: throw Failure(.languageUnavailable, request.language)
        }
        return report(["pid=\(getpid())"])
    }

    private func report(_ lines: [String]) -> StoredResult {
        StoredResult(digest: Bits128(high: 0, low: 1), body: Array(lines.joined(separator: "\n").utf8))
    }

    private func hang() -> Never {
        while true { pause() }
    }

    private func complain(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(2, bytes, bytes.count)
    }

    private func send(_ bytes: [UInt8]) {
        _ = write(3, bytes, bytes.count)
        // Whatever comes after nonsense must not matter.
        while true { pause() }
    }

    private func hostile(_ what: String) -> [String] {
        let beside = hello.tessdata + "/../beside"
        let model = hello.tessdata + "/eng.traineddata"
        switch what {
        case "tessdata": return ["read=\(probe_open_for_reading(model))"]
        case "fonts":
            return SandboxFonts.directories.map { "\($0)=\(probe_open_for_reading($0))" }
        case "fonts-write":
            return SandboxFonts.directories.map { "\($0)=\(probe_create($0 + "/worker-test"))" }
        case "readetc":
            return [
                "passwd=\(probe_open_for_reading("/etc/passwd"))", "beside=\(probe_open_for_reading(beside))",
                "proc=\(probe_open_for_reading("/proc/self/maps"))",
            ]
        case "write":
            return [
                "model=\(probe_open_for_writing(model))", "beside=\(probe_open_for_writing(beside))",
                "create=\(probe_create(hello.tessdata + "/new"))", "tmp=\(probe_create(beside + ".new"))",
                "mkdir=\(probe_make_directory(beside + ".d"))", "rename=\(probe_rename(beside, beside + ".2"))",
                "truncate=\(probe_truncate(model))", "unlink=\(probe_unlink(model))",
                "memfd=\(probe_memory_file())", "devnull=\(probe_open_for_writing("/dev/null"))",
            ]
        case "socket": return ["inet=\(probe_socket(AF_INET))", "unix=\(probe_socket(AF_UNIX))"]
        case "fork": return ["fork=\(probe_fork())", "clone3=\(probe_fork_by_clone3())"]
        case "thread": return ["thread=\(probe_thread())"]
        case "kill": return ["parent=\(probe_signal(hello.parentPID))", "init=\(probe_signal(1))"]
        case "memory": return ["executable=\(probe_executable_memory())"]
        case "exec": return ["exec=\(probe_exec("exit 42"))"]
        case "ptrace": return ["ptrace=\(probe_ptrace())"]
        case "io-uring": return ["io-uring=\(probe_io_uring())"]
        case "bpf": return ["bpf=\(probe_bpf())"]
        default: return ["unknown"]
        }
    }
}
