// The one binary: a worker when the node starts it as one, otherwise the commands of CLI.md.

import ArgumentParser
internal import ClusterModel
internal import ClusterConfiguration
import Glibc
internal import NodeRuntime
internal import WorkerPool

@main
struct NodeEntry {
    static func main() async {
        let arguments = CommandLine.arguments
        // Before anything else: a worker confines itself while it has one thread.
        if arguments.count > 2, arguments[1] == "worker" {
            runWorker(nodeID: arguments[2], Array(arguments.dropFirst(3)))
        }
        ClientSettings.readConfiguration { file in
            let path = NodeConfiguration.locate(
                flag: file.map { String(decoding: $0, as: UTF8.self) }, environment: [:])
            guard let path else { return nil }
            do throws(ConfigurationError) {
                return Array(try NodeConfiguration.load(path: path).dataDirectory.utf8)
            } catch {
                StartCommand.complain(error.message, hint: error.hint)
                exit(ConfigurationError.exitCode)
            }
        }
        await RootCommand.main()
    }

    /// `node worker NODE-ID …`: not for people.
    private static func runWorker(nodeID: String, _ rest: [String]) -> Never {
        guard rest.isEmpty, let bits = Bits128(hex: nodeID) else {
            StartCommand.complain("`node worker` is started by a node, not by hand", hint: "see `node --help`")
            exit(64)
        }
        WorkerProcess.run(prepare: RecognitionWorker.prepare) { RecognitionWorker($0, node: NodeID(bits)) }
    }
}

/// The root of all commands.
struct RootCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "OCR over millions of scans on whatever machines there are.",
        version: NodeFacts.version,
        subcommands: [StartCommand.self, JoinCommand.self, KeygenCommand.self, DoctorCommand.self] + clientCommands)
}
