// Every key of cluster.conf: where it stands, what it may be, which property it sets.
//
// Parsing, the documented defaults and the tests of cluster.conf.example all go by this one list.

import ClusterModel

/// One key of the configuration file.
package struct ConfigurationKey: Sendable {
    package typealias Property<Value> = any WritableKeyPath<NodeConfiguration, Value> & Sendable

    /// What a key takes, and the property that it sets. Ranges are inclusive.
    package enum Kind: Sendable {
        case integer(Property<Int>, ClosedRange<Int>)
        case powerOfTwo(Property<Int>, ClosedRange<Int>)
        /// An integer with values that a range cannot tell.
        case oneOf(Property<Int>, Set<Int>, expected: String)
        case byteCount(Property<Int>, ClosedRange<Int>)
        case duration(Property<Duration>, ClosedRange<Duration>)
        case decimal(Property<Double>, ClosedRange<Double>)
        case flag(Property<Bool>)
        case text(Property<String>, Text)
        /// An array of texts.
        case texts(Property<[String]>, Text, atMost: Int)
        case sandbox(Property<NodeConfiguration.Worker.Sandbox>)
        case reuse(Property<NodeConfiguration.Work.Reuse>)
        case level(Property<NodeConfiguration.Log.Level>)
        case provider(Property<NodeConfiguration.CloudService.Provider>)
    }

    /// What a text may be.
    package enum Text: Sendable {
        /// A path; `mayBeEmpty` where leaving it out has a meaning.
        case path(mayBeEmpty: Bool)
        /// A label of letters, digits, `.`, `_`, `-`.
        case label(mayBeEmpty: Bool)
        case language
        /// "ADDR:PORT" or empty.
        case address
        /// "HOST[:PORT]".
        case seed
        /// "http://HOST[:PORT]" or empty.
        case origin
        /// "http(s)://HOST[:PORT][/PATH]" or empty.
        case storeURL
    }

    /// The table that holds it, nil at the top of the file.
    package let table: String?
    package let name: String
    package let kind: Kind
    /// One line: what it decides.
    package let documentation: String

    init(_ table: String?, _ name: String, _ kind: Kind, _ documentation: String) {
        self.table = table
        self.name = name
        self.kind = kind
        self.documentation = documentation
    }

    /// "[limits] max_pixels", or "data_dir" at the top.
    package var qualifiedName: String { Self.qualifiedName(table: table, name) }

    static func qualifiedName(table: String?, _ name: String) -> String { table.map { "[\($0)] \(name)" } ?? name }

    /// The default as it is written in the file: `100_000_000`, `"180s"`.
    package var defaultText: String { text(of: NodeConfiguration()) }

    /// The value in a configuration, as it would be written in the file.
    package func text(of configuration: NodeConfiguration) -> String {
        switch kind {
        case .integer(let path, _), .powerOfTwo(let path, _), .oneOf(let path, _, _):
            Self.grouped(configuration[keyPath: path])
        case .byteCount(let path, _): "\"\(Quantity.text(byteCount: configuration[keyPath: path]))\""
        case .duration(let path, _): "\"\(Quantity.text(configuration[keyPath: path]))\""
        case .decimal(let path, _): "\(configuration[keyPath: path])"
        case .flag(let path): configuration[keyPath: path] ? "true" : "false"
        case .text(let path, _): "\"\(configuration[keyPath: path])\""
        case .texts(let path, _, _):
            "[" + configuration[keyPath: path].map { "\"\($0)\"" }.joined(separator: ", ") + "]"
        case .reuse(let path): "\"\(configuration[keyPath: path].rawValue)\""
        case .sandbox(let path): "\"\(configuration[keyPath: path].rawValue)\""
        case .level(let path): "\"\(configuration[keyPath: path].rawValue)\""
        case .provider(let path): "\"\(configuration[keyPath: path].rawValue)\""
        }
    }

    /// Digits in groups of three from a million on, as TOML allows.
    private static func grouped(_ value: Int) -> String {
        guard value >= 1_000_000 else { return String(value) }
        var groups: [String] = []
        var rest = String(value)
        while rest.count > 3 {
            groups.append(String(rest.suffix(3)))
            rest.removeLast(3)
        }
        return ([rest] + groups.reversed()).joined(separator: "_")
    }
}

extension NodeConfiguration {
    /// The keys in the order of cluster.conf.example.
    package static var keys: [ConfigurationKey] { ConfigurationKey.all }
}

extension ConfigurationKey {
    static let all: [ConfigurationKey] =
        [
            ConfigurationKey(
                nil, "data_dir", .text(\.dataDirectory, .path(mayBeEmpty: false)),
                "the directory in which the node keeps its ledger, its key and its socket"),
            ConfigurationKey(nil, "name", .text(\.name, .label(mayBeEmpty: true)), "label of this node"),
            ConfigurationKey(
                nil, "zone", .text(\.zone, .label(mayBeEmpty: true)), "failure domain of this node, such as a rack"),
            ConfigurationKey(
                nil, "cost_per_hour", .decimal(\.costPerHour, 0...Limits.costPerHour),
                "what this machine costs, in dollars an hour"),

            ConfigurationKey(
                "cluster", "name", .text(\.cluster.name, .label(mayBeEmpty: false)), "label of the cluster"),
            ConfigurationKey(
                "cluster", "shards", .powerOfTwo(\.cluster.shardCount, 1...65_536), "parts into which the jobs are cut"),
            ConfigurationKey(
                "cluster", "replicas", .integer(\.cluster.replicaCount, 1...7), "nodes that hold a copy of each record"),
            ConfigurationKey(
                "cluster", "seeds", .texts(\.cluster.seeds, .seed, atMost: Limits.seedCount),
                "nodes through which the cluster is found"),
            ConfigurationKey(
                "cluster", "key", .text(\.cluster.keyFile, .path(mayBeEmpty: true)), "file with the key of the cluster"),

            ConfigurationKey(
                "work", "workers", .integer(\.work.workerCount, 0...Limits.workerCount),
                "images recognised at the same time; 0 is one per core"),
            ConfigurationKey(
                "work", "max_attempts", .integer(\.work.maxAttempts, 1...100),
                "attempts of a job that may fail for a passing reason before it is failed"),
            ConfigurationKey(
                "work", "retry_backoff", .duration(\.work.retryBackoff, .milliseconds(10) ... .seconds(3_600)),
                "wait before the second attempt, doubled for each further one"),
            ConfigurationKey(
                "work", "retry_backoff_max", .duration(\.work.retryBackoffMax, .milliseconds(10) ... .seconds(86_400)),
                "longest wait between two attempts"),
            ConfigurationKey(
                "work", "max_interruptions", .integer(\.work.maxInterruptions, 1...1_000),
                "starts of a job that ended with the death of the node before it is failed"),
            ConfigurationKey(
                "work", "stop_deadline", .duration(\.work.stopDeadline, .seconds(0) ... .seconds(86_400)),
                "time for running jobs after SIGTERM before they are given back"),
            ConfigurationKey(
                "work", "reuse", .reuse(\.work.reuse), "whether the same image gets the result that it had before"),

            ConfigurationKey(
                "limits", "max_pixels", .integer(\.limits.maxPixels, 10_000...2_000_000_000),
                "largest page, width x height"
            ),
            ConfigurationKey(
                "limits", "max_bytes", .byteCount(\.limits.maxByteCount, (1 << 10)...(4 << 30)), "largest file"),
            ConfigurationKey(
                "limits", "max_pages", .integer(\.limits.maxPages, 1...Limits.filePageCount), "most pages of one file"),
            ConfigurationKey(
                "limits", "page_timeout", .duration(\.limits.pageTimeout, .seconds(1) ... .seconds(86_400)),
                "time for one page, after which its worker is killed"),

            ConfigurationKey(
                "worker", "sandbox", .sandbox(\.worker.sandbox), "whether workers give up files, network and processes"),
            ConfigurationKey(
                "worker", "memory", .byteCount(\.worker.memoryByteCount, (256 << 20)...(1 << 40)),
                "address space of one worker"),
            ConfigurationKey("worker", "nice", .integer(\.worker.nice, 0...19), "niceness of workers"),
            ConfigurationKey(
                "worker", "recycle_jobs", .integer(\.worker.recycleJobs, 1...1_000_000_000),
                "jobs after which a worker is replaced"),
            ConfigurationKey(
                "worker", "recycle_rss", .byteCount(\.worker.recycleResidentByteCount, (64 << 20)...(1 << 40)),
                "resident memory above which a worker is replaced after its job"),
            ConfigurationKey(
                "worker", "cpu_seconds_per_page", .integer(\.worker.cpuSecondsPerPage, 1...86_400),
                "CPU time that one page may use"),
            ConfigurationKey(
                "worker", "prefetch_bytes", .byteCount(\.worker.prefetchByteCount, (1 << 20)...(1 << 40)),
                "memory for images from other nodes that wait for a worker"),

            ConfigurationKey(
                "storage", "spool_bytes", .byteCount(\.storage.spoolByteCount, 0...(1 << 50)),
                "disk space for copies of other nodes' files"),

            ConfigurationKey(
                "ocr", "tessdata", .text(\.ocr.tessdata, .path(mayBeEmpty: true)), "directory of the language models"),
            ConfigurationKey(
                "ocr", "tessdata_best", .text(\.ocr.bestTessdata, .path(mayBeEmpty: true)),
                "directory of the slower, better models"),
            ConfigurationKey(
                "ocr", "language", .text(\.ocr.language, .language), "language of jobs that are submitted without one"),
            ConfigurationKey(
                "ocr", "psm",
                .oneOf(\.ocr.pageSegmentationMode, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], expected: "1 or 3...13"),
                "page segmentation mode of submissions that name none"),
            ConfigurationKey(
                "ocr", "dpi", .oneOf(\.ocr.dpi, Set(70...2_400).union([0]), expected: "0 or 70...2400"),
                "resolution that submissions assume when they name none; 0 is that of the image"),

            ConfigurationKey("log", "level", .level(\.log.level), "least severe message that is logged"),
            ConfigurationKey(
                "log", "file", .text(\.log.file, .path(mayBeEmpty: true)), "file that the log is appended to"),

            ConfigurationKey("listen", "address", .text(\.listen.address, .address), "address for other nodes"),
            ConfigurationKey(
                "listen", "advertise", .text(\.listen.advertise, .address), "address that other nodes are told"),

            ConfigurationKey(
                "cloud", "provider", .provider(\.cloud.provider),
                "cloud whose notices are heeded; auto asks the firmware"),
            ConfigurationKey(
                "cloud", "metadata_endpoint", .text(\.cloud.metadataEndpoint, .origin),
                "where the cloud's metadata service is, if not at its own address"),
            ConfigurationKey(
                "cloud", "poll", .duration(\.cloud.poll, .milliseconds(100) ... .seconds(60)),
                "time between two looks for a notice"),
            ConfigurationKey(
                "cloud", "margin", .duration(\.cloud.margin, .seconds(0) ... .seconds(3_600)),
                "what a drain leaves of the time that a notice gives"),
        ] + membership + stores
}
