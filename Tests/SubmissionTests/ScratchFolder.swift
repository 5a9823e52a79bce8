import Glibc
import Submission
import Testing

/// A folder of a test, with names as bytes; removed at the end.
final class ScratchFolder {
    let path: [UInt8]

    init() throws {
        var template = Array("/tmp/submission-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SubmissionError("mkdtemp failed") }
        path = template.dropLast().map { UInt8(bitPattern: $0) }
    }

    deinit {
        _ = system("rm -rf '\(String(decoding: path, as: UTF8.self))'")
    }

    func full(_ name: [UInt8]) -> [UInt8] { path + [UInt8(ascii: "/")] + name }
    func full(_ name: String) -> [UInt8] { full(Array(name.utf8)) }

    func folder(_ name: String) {
        _ = mkdir(full(name).map { CChar(bitPattern: $0) } + [0], 0o755)
    }

    func file(_ name: [UInt8], _ content: [UInt8] = []) throws {
        let descriptor = open(full(name).map { CChar(bitPattern: $0) } + [0], O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard descriptor >= 0 else { throw SubmissionError("cannot write \(name)") }
        defer { close(descriptor) }
        guard write(descriptor, content, content.count) == content.count else { throw SubmissionError("short write") }
    }

    func file(_ name: String, _ content: [UInt8] = []) throws { try file(Array(name.utf8), content) }

    func link(_ name: String, to target: String) {
        _ = symlink(target, full(name).map { CChar(bitPattern: $0) } + [0])
    }
}
