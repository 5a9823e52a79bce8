// `node keygen`: makes the key that admits a node to a cluster.

import ArgumentParser
import Glibc

struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Write a new cluster key.", discussion: "Example: node keygen cluster.key")

    @Argument(help: "The file to write; it must not exist.") var file = "cluster.key"

    /// Bytes of a key (DESIGN §9).
    private static let keyByteCount = 32

    func run() throws {
        var generator = SystemRandomNumberGenerator()
        let key = (0..<Self.keyByteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let digits = Array("0123456789abcdef".utf8)
        let text = key.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] } + [UInt8(ascii: "\n")]
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let reason = errno == EEXIST ? "it exists and is not overwritten" : String(cString: strerror(errno))
            StartCommand.complain("\(file) was not written: \(reason)", hint: "name another file")
            throw ExitCode(errno == EEXIST ? 3 : 1)
        }
        defer { close(descriptor) }
        guard write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0 else {
            StartCommand.complain("\(file) could not be written: \(String(cString: strerror(errno)))", hint: "")
            unlink(file)
            throw ExitCode(1)
        }
        print("wrote \(file); copy it to every machine of the cluster and keep it secret")
    }
}
