import Glibc

/// A child of a test, with its standard input and output.
final class ChildProcess {
    let pid: pid_t
    private let output: Int32
    private var input: Int32

    /// Starts a program that was built beside the tests; nil when it cannot be started.
    init?(_ name: String, _ arguments: [String]) {
        guard let executable = Self.path(of: name) else { return nil }
        var outputs: [Int32] = [0, 0]
        var inputs: [Int32] = [0, 0]
        // Socket pairs, because they are closed on exec from the beginning: other tests start children meanwhile.
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &outputs) == 0, socketpair(AF_UNIX, type, 0, &inputs) == 0 else {
            return nil
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, inputs[0], 0)
        posix_spawn_file_actions_adddup2(&actions, outputs[1], 1)
        var strings = ([executable] + arguments).map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var child: pid_t = 0
        let code = posix_spawn(&child, executable, &actions, nil, &strings, &environment)
        posix_spawn_file_actions_destroy(&actions)
        for string in strings { free(string) }
        close(outputs[1])
        close(inputs[0])
        pid = child
        output = outputs[0]
        input = inputs[1]
        if code != 0 { return nil }
    }

    deinit {
        close(output)
        endInput()
    }

    func endInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    /// Reads once; nil at the end.
    func read() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = Glibc.read(output, &buffer, buffer.count)
        return count > 0 ? Array(buffer.prefix(count)) : nil
    }

    func kill() { Glibc.kill(pid, SIGKILL) }

    /// Waits for the end; the signal that ended it, 0 for a normal end.
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status & 0x7F
    }

    private static func path(of name: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                characters.baseAddress.map { readlink("/proc/self/exe", $0, characters.count) } ?? -1
            }
        }
        guard count > 0 else { return nil }
        let own = String(decoding: buffer.prefix(count), as: UTF8.self)
        let path = (own.lastIndex(of: "/").map { own[..<$0] } ?? ".") + "/" + name
        return access(path, X_OK) == 0 ? path : nil
    }
}
