// Which node a command speaks to.

import ArgumentParser
internal import ClusterModel
internal import Submission
import Synchronization

/// Options of every command that speaks to a node.
package struct ClientOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The node's data directory.", valueName: "dir"))
    package var dataDir: String?

    @Option(help: ArgumentHelp("The configuration file.", valueName: "file"))
    package var config: String?

    package init() {}

    /// The data directory as bytes. Throws `CommandFailure` when the configuration cannot be read.
    func dataDirectory() throws -> [UInt8] {
        try ClientSettings.dataDirectory(
            flag: dataDir.map { RawArguments.process.bytes(of: $0) },
            config: config.map { RawArguments.process.bytes(of: $0) })
    }
}

/// Finds the data directory: a flag beats the environment, which beats the configuration file (CLI.md).
package enum ClientSettings {
    /// Reads `data_dir` of a configuration file: gets the path of `--config` or NODE_CONFIG (nil: the usual places),
    /// returns nil when nothing is set.
    package typealias ConfigurationReader = @Sendable (_ config: [UInt8]?) throws -> [UInt8]?

    private static let reader = Mutex<ConfigurationReader?>(nil)

    /// Sets what reads the configuration file; called once before a command runs.
    package static func readConfiguration(with newReader: @escaping ConfigurationReader) {
        reader.withLock { $0 = newReader }
    }

    /// The data directory that a command means.
    package static func dataDirectory(flag: [UInt8]?, config: [UInt8]?) throws -> [UInt8] {
        if let flag { return flag }
        if let set = RawEnvironment.value("NODE_DATA_DIR"), !set.isEmpty { return set }
        let file = config ?? RawEnvironment.value("NODE_CONFIG").flatMap { $0.isEmpty ? nil : $0 }
        if let read = reader.withLock({ $0 }), let set = try read(file) { return set }
        return Array("./node-data".utf8)
    }
}
