// The flags that `node start` and `node join` share, and what becomes of them with cluster.conf and the environment.

import ArgumentParser
package import CloudMetadata
internal import ClusterModel
package import ClusterConfiguration
import Foundation
import Glibc
internal import Logging
internal import Membership
package import NodeRuntime
internal import OCR
internal import WorkerPool

/// How to run a node.
package struct RunOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the node keeps its ledger.", valueName: "dir"))
    package var dataDir: String?

    @Option(help: ArgumentHelp("The configuration file.", valueName: "file"))
    package var config: String?

    @Option(
        help: ArgumentHelp(
            "Listen here, TCP and UDP (default: 0.0.0.0:7400 with a key, 127.0.0.1:7400 without).",
            valueName: "addr:port"))
    package var listen: String?

    @Option(help: ArgumentHelp("What other nodes are told instead (NAT, containers).", valueName: "addr:port"))
    package var advertise: String?

    @Option(help: "The node's name in reports (default: the host's).")
    package var name: String?

    @Option(help: "Failure domain of this node: a rack, an availability zone.")
    package var zone: String?

    @Option(help: ArgumentHelp("What this machine costs an hour, for `node status`.", valueName: "dollars"))
    package var costPerHour: Double?

    @Option(help: ArgumentHelp("Worker processes (default: one for each core).", valueName: "n"))
    package var workers: Int?

    @Option(
        help: ArgumentHelp("The cluster's key (default: cluster.key of the data directory).", valueName: "file"))
    package var key: String?

    @Flag(help: "Return when the node is ready; prints its pid and log file.")
    package var detach = false

    package init() {}

    package func validate() throws {
        for (flag, text) in [("--listen", listen), ("--advertise", advertise)] {
            // Port 0 lets the system choose; what others are told must be a port.
            if let text, !AddressText.isAddress(text, allowsAnyPort: flag == "--listen") {
                throw ValidationError("\(flag) '\(text)': ADDRESS:PORT is expected, an IPv6 address in brackets.")
            }
        }
        for (flag, text) in [("--name", name), ("--zone", zone)] {
            let kind = ConfigurationKey.Text.label(mayBeEmpty: flag == "--zone")
            if let text, !kind.accepts(text) { throw ValidationError("\(flag) '\(text)': expected \(kind.expected).") }
        }
        if let costPerHour, !(0...Limits.costPerHour).contains(costPerHour) {
            throw ValidationError("--cost-per-hour \(costPerHour) is not within 0...\(Int(Limits.costPerHour)).")
        }
        if let workers, !(1...Limits.workerCount).contains(workers) {
            throw ValidationError("--workers \(workers) is not within 1...\(Limits.workerCount).")
        }
    }

    // MARK: Merging

    /// The options of the node. Throws `CommandFailure`.
    /// - Parameters:
    ///   - seeds: those of the command line; when there are none, those of the configuration are taken.
    func nodeOptions(_ configuration: NodeConfiguration, seeds: [String]) throws -> NodeOptions {
        let configuredModels = configuration.ocr.tessdata
        guard let tessdata = ModelDirectory.locate(configured: configuredModels.isEmpty ? nil : configuredModels) else {
            throw CommandFailure(
                "no Tesseract models were found", hint: "on Debian: apt-get install tesseract-ocr-eng", exitCode: 78)
        }
        let slots = workers ?? configuration.workerCount(cores: ProcessInfo.processInfo.activeProcessorCount)
        let directory = dataDirectory(configuration)
        var options = NodeOptions(
            dataDirectory: directory, name: ownName(configuration),
            workers: Self.workers(configuration, slotCount: slots, tessdata: tessdata))
        options.clusterName = configuration.cluster.name
        options.layout = configuration.shardLayout
        options.maximumFailures = UInt32(configuration.work.maxAttempts)
        options.maximumInterruptions = UInt32(configuration.work.maxInterruptions)
        options.backoffBase = configuration.work.retryBackoff
        options.backoffCeiling = configuration.work.retryBackoffMax
        options.stopDeadline = configuration.work.stopDeadline
        options.defaultLanguage = configuration.ocr.language
        options.defaultProfile = configuration.profile
        options.replicas = configuration.cluster.replicaCount
        options.prefetchBytes = configuration.worker.prefetchByteCount
        options.spoolBytes = configuration.storage.spoolByteCount
        options.stores = try StoreAccess.stores(configuration)
        options.reusesResults = configuration.work.reuse == .on
        options.membership = MembershipConfiguration(configuration.membership)
        let place = try place(configuration, seeds: seeds, directory: directory) { access($0, F_OK) == 0 }
        options.seeds = place.seeds
        options.listen = place.listen
        options.advertise = place.advertise
        options.zone = place.zone
        options.costPerHour = costPerHour ?? configuration.costPerHour
        options.logFile = configuration.log.file.isEmpty ? nil : StartCommand.absolute(configuration.log.file)
        options.keyFile = place.keyFile
        options.cloud = try Self.cloud(
            configuration.cloud, environment: ProcessInfo.processInfo.environment, machine: MachineIdentity())
        return options
    }

    /// Reads the configuration that the flags and the environment name. Throws `CommandFailure`.
    func configuration() throws -> NodeConfiguration { try .found(flag: config) }

    func dataDirectory(_ configuration: NodeConfiguration) -> String {
        StartCommand.absolute(
            configuration.dataDirectory(flag: dataDir, environment: ProcessInfo.processInfo.environment))
    }

    /// Where to listen for notices of the machine's cloud; nil for nowhere. Throws `CommandFailure`.
    package static func cloud(
        _ settings: NodeConfiguration.CloudService, environment: [String: String], machine: MachineIdentity
    ) throws -> CloudSettings? {
        var provider = settings.provider
        if let named = environment["NODE_CLOUD_PROVIDER"], !named.isEmpty {
            guard let known = NodeConfiguration.CloudService.Provider(rawValue: named) else {
                let names = NodeConfiguration.CloudService.Provider.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandFailure(
                    "NODE_CLOUD_PROVIDER '\(named)' is no cloud", hint: "one of \(names)",
                    exitCode: ConfigurationError.exitCode)
            }
            provider = known
        }
        let endpoint = settings.metadataEndpoint.isEmpty ? nil : settings.metadataEndpoint
        let cloud: Cloud?
        switch provider {
        case .none: return nil
        case .auto: cloud = nil
        case .ec2: cloud = .ec2
        case .gcp: cloud = .gcp
        case .azure: cloud = .azure
        }
        guard let place = CloudPlace.find(named: cloud, endpoint: endpoint, machine: machine) else {
            guard let endpoint else { return nil }
            throw CommandFailure(
                "[cloud] metadata_endpoint is \(endpoint), but this machine's firmware names no cloud",
                hint: "say whose it is: provider = \"ec2\", \"gcp\" or \"azure\"", exitCode: ConfigurationError.exitCode
            )
        }
        return CloudSettings(place: place, poll: settings.poll, margin: settings.margin)
    }

    static func logLevel(_ configuration: NodeConfiguration) -> Logger.Level {
        Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
    }

    private func ownName(_ configuration: NodeConfiguration) -> String {
        if let name { return name }
        if !configuration.name.isEmpty { return configuration.name }
        // Other nodes do not take a longer label.
        return String(
            decoding: ProcessInfo.processInfo.hostName.utf8.prefix(Limits.memberLabelByteCount), as: UTF8.self)
    }

    static func workers(
        _ configuration: NodeConfiguration, slotCount: Int, tessdata: String
    ) -> WorkerPoolConfiguration {
        var workers = WorkerPoolConfiguration(slots: slotCount, tessdata: tessdata)
        workers.sandbox = configuration.worker.sandbox == .on ? .enforced : .off
        workers.niceness = configuration.worker.nice
        workers.memoryLimitBytes = UInt64(configuration.worker.memoryByteCount)
        workers.hardDeadline = configuration.limits.pageTimeout
        // The recogniser is asked to stop a little before it is killed.
        workers.softDeadline = configuration.limits.pageTimeout * 17 / 18
        workers.cpuLimit = .seconds(configuration.worker.cpuSecondsPerPage)
        workers.recycleAfterJobs = configuration.worker.recycleJobs
        workers.recycleRSSBytes = configuration.worker.recycleResidentByteCount
        workers.limits = ImageLimits(
            pixels: configuration.limits.maxPixels, bytes: configuration.limits.maxByteCount,
            pages: configuration.limits.maxPages)
        return workers
    }
}

extension NodeConfiguration {
    /// Reads the file that `--config`, the environment or the usual places name. Throws `CommandFailure`.
    static func found(flag: String?) throws -> NodeConfiguration {
        do throws(ConfigurationError) {
            return try load(path: locate(flag: flag, environment: ProcessInfo.processInfo.environment))
        } catch {
            throw CommandFailure(error.message, hint: error.hint, exitCode: ConfigurationError.exitCode)
        }
    }
}

// MARK: The node's place in a cluster

/// Where a node listens, by what it is admitted, and through whom it finds the others.
package struct ClusterPlace: Hashable, Sendable {
    package var seeds: [String]
    /// Nil: 0.0.0.0:7400 with a key, 127.0.0.1:7400 without.
    package var listen: String?
    package var advertise: String?
    package var zone: String
    /// A file that was named; nil looks for `cluster.key` in the data directory.
    package var keyFile: String?
}

extension RunOptions {
    /// Merges the flags over the configuration. Throws `CommandFailure` where a node would be reachable, or should
    /// reach others, without a key that anybody shares.
    package func place(
        _ configuration: NodeConfiguration, seeds named: [String], directory: String,
        exists: (_ path: String) -> Bool
    ) throws -> ClusterPlace {
        func chosen(_ flag: String?, _ configured: String) -> String? {
            flag ?? (configured.isEmpty ? nil : configured)
        }
        let place = ClusterPlace(
            seeds: named.isEmpty ? configuration.cluster.seeds : named,
            listen: chosen(listen, configuration.listen.address),
            advertise: chosen(advertise, configuration.listen.advertise), zone: zone ?? configuration.zone,
            keyFile: chosen(key, configuration.cluster.keyFile))
        if let file = place.keyFile {
            guard exists(file) else {
                throw CommandFailure(
                    "the key file \(file) is not there",
                    hint: "copy it from another node of the cluster, or make the first with `node keygen \(file)`",
                    exitCode: ConfigurationError.exitCode)
            }
            return place
        }
        // The ring of keys is what `node keys` keeps up to date.
        if exists(directory + "/cluster.key") || exists(directory + "/cluster.keys") { return place }
        let isLocal = place.listen.map(ListenAddress.isLoopback) ?? place.seeds.isEmpty
        guard isLocal else {
            let what =
                place.listen.map { "a node that listens at \($0) needs the cluster's key" }
                ?? "a node that joins others needs the cluster's key"
            throw CommandFailure(
                what + ", and there is none at \(directory)/cluster.key",
                hint:
                    "`node keygen \(directory)/cluster.key` on the first machine, then copy it to the others (or --key)",
                exitCode: ConfigurationError.exitCode)
        }
        return place
    }
}

package enum ListenAddress {
    /// Whether "ADDRESS:PORT" is of this machine alone: 127.0.0.0/8, [::1] or localhost.
    package static func isLoopback(_ text: String) -> Bool {
        guard let colon = text.lastIndex(of: ":") else { return false }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        if host == "localhost" { return true }
        return Endpoint(numericHost: String(host), port: 1)?.isLoopback ?? false
    }
}

extension Endpoint {
    /// A numeric IPv4 or IPv6 address. Returns nil for a name.
    init?(numericHost: String, port: UInt16) {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, numericHost, &bytes) == 1 {
            self.init(bytes: Array(bytes.prefix(4)), port: port)
        } else if inet_pton(AF_INET6, numericHost, &bytes) == 1 {
            self.init(bytes: bytes, port: port)
        } else {
            return nil
        }
    }
}
