// What commands write: results to standard output, everything else to standard error.

import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Submission
import Synchronization
internal import Wire

/// Why a command ends without doing what it was asked to.
package struct CommandFailure: Error, Sendable, CustomStringConvertible {
    let message: String
    let hint: String
    let exitCode: Int32

    package init(_ message: String, hint: String = "", exitCode: Int32 = 1) {
        self.message = message
        self.hint = hint
        self.exitCode = exitCode
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }

    /// The failure that a person is told of, for any error that a command meets.
    init(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as AdminError: self.init(error.message, hint: error.hint, exitCode: error.exitCode)
        case let error as RPCError: self.init(error)
        case let error as SubmissionError: self.init(error.message, hint: error.hint, exitCode: 3)
        case let error as ExportError: self.init(error.message, hint: error.hint, exitCode: 1)
        default: self.init("\(error)")
        }
    }

    private init(_ error: RPCError) {
        if let sent = AdminError(error) {
            self.init(sent.message, hint: sent.hint, exitCode: sent.exitCode)
            return
        }
        switch error.code {
        case .unavailable:
            self.init(
                "the connection to the node was lost", hint: "see whether it still runs: node status", exitCode: 69)
        case .deadlineExceeded: self.init("the node did not answer in time", exitCode: 2)
        case .unimplemented: self.init("the node is of a version that does not know this command")
        default: self.init("the node answered with an error: \(error.message)")
        }
    }
}

/// Writes to the two streams.
enum Output {
    /// Serialises lines of threads that report at the same time; holds what is drawn as progress.
    private static let progress = Mutex<String>("")

    /// A result. A closed pipe ends the process quietly, as with other tools.
    static func result(_ text: String) { write(Array(text.utf8), to: STDOUT_FILENO) }

    static func resultLine(_ text: String) { result(text + "\n") }

    /// A message on standard error, above the progress bar if there is one.
    static func message(_ text: String) {
        progress.withLock { drawn in
            let clear = drawn.isEmpty ? "" : "\r\u{1B}[K"
            write(Array("\(clear)\(text)\n\(drawn)".utf8), to: STDERR_FILENO)
        }
    }

    /// Redraws the progress line; only for a terminal.
    static func draw(_ text: String) {
        progress.withLock { drawn in
            write(Array("\r\u{1B}[K\(text)".utf8), to: STDERR_FILENO)
            drawn = text
        }
    }

    /// Ends the progress line.
    static func endProgress() {
        progress.withLock { drawn in
            if !drawn.isEmpty { write(Array("\n".utf8), to: STDERR_FILENO) }
            drawn = ""
        }
    }

    static func failure(_ failure: CommandFailure) {
        let word = Terminal.usesColor(STDERR_FILENO) ? "\u{1B}[31merror:\u{1B}[0m" : "error:"
        message("\(word) \(failure.message)" + (failure.hint.isEmpty ? "" : "\n  hint: \(failure.hint)"))
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) {
        var position = 0
        while position < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: position), $0.count - position)
            }
            if count >= 0 {
                position += count
            } else if errno != EINTR {
                if descriptor == STDOUT_FILENO { exit(errno == EPIPE ? 141 : 1) }
                return
            }
        }
    }
}

/// Runs a command's body: every error becomes a message and an exit code of CLI.md.
func runCommand(_ body: () async throws -> Int32) async throws {
    signal(SIGPIPE, SIG_IGN)
    let code: Int32
    do {
        code = try await body()
    } catch let error as ExitCode {
        throw error
    } catch {
        Output.endProgress()
        let failure = CommandFailure(error)
        Output.failure(failure)
        code = failure.exitCode
    }
    if code != 0 { throw ExitCode(code) }
}
