// `node keygen`: makes the key that admits a node to a cluster.

import ArgumentParser
import Glibc
internal import Wire

struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Write a new cluster key.", discussion: "Example: node keygen cluster.key")

    @Argument(help: "The file to write; it must not exist.") var file = "cluster.key"

    func run() throws {
        let key = ClusterKey.random()
        let text = Array((key.text + "\n").utf8)
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let code = errno
            let reason = code == EEXIST ? "it exists and is not overwritten" : String(cString: strerror(code))
            StartCommand.complain("\(file) was not written: \(reason)", hint: "name another file")
            throw ExitCode(code == EEXIST ? 3 : 1)
        }
        defer { close(descriptor) }
        guard write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0 else {
            StartCommand.complain("\(file) could not be written: \(String(cString: strerror(errno)))", hint: "")
            unlink(file)
            throw ExitCode(1)
        }
        print("wrote \(file) (key \(key.digest)); copy it to every machine of the cluster and keep it secret")
    }
}
