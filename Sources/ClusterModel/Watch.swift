// A place that is still filling, and the batch that takes what comes: replicated to every node (docs/watch.md).

/// A watch's identity: the same place in the same batch is the same watch, however often it is started.
package struct WatchID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let bits: Bits128
    package init(_ bits: Bits128) { self.bits = bits }
    package var description: String { bits.hex }
    package static func < (left: WatchID, right: WatchID) -> Bool { left.bits < right.bits }
}

/// What tells a folder from another one of the same path on another machine. A shared file system shows the same
/// number everywhere; the time of its making settles it where the file system knows one.
package struct FolderIdentity: Hashable, Comparable, Sendable {
    /// The inode's number.
    package let number: UInt64
    /// Nanoseconds since 1970; 0 where the file system does not say.
    package let madeNanoseconds: Int64

    package init(number: UInt64, madeNanoseconds: Int64) {
        self.number = number
        self.madeNanoseconds = madeNanoseconds
    }

    /// Whether both can be the same folder.
    package func matches(_ other: FolderIdentity) -> Bool {
        let bothKnow = madeNanoseconds != 0 && other.madeNanoseconds != 0
        return number == other.number && (!bothKnow || madeNanoseconds == other.madeNanoseconds)
    }

    package static func < (left: FolderIdentity, right: FolderIdentity) -> Bool {
        (left.number, left.madeNanoseconds) < (right.number, right.madeNanoseconds)
    }
}

/// A watch: last writer wins by (version, writer). A stopped one stays as a tombstone until its batch is removed.
package struct Watch: Hashable, Sendable {
    package enum State: UInt8, Hashable, Sendable {
        case running = 0
        case stopped = 1
    }

    package let id: WatchID
    package let batch: BatchID
    /// An absolute path of a folder, or a URL that ends with a prefix.
    package let source: SourceReference
    /// Language of what no rule matches.
    package var language: String
    /// "GLOB=language", each; the first that matches wins. Bytes: a glob is compared with paths.
    package var languageRules: [[UInt8]]
    package var priority: Int
    /// Seconds between two complete looks at the place.
    package var intervalSeconds: UInt32
    /// Queue that tells of new objects; empty where there is none.
    package var queueURL: String
    /// The node that runs it while it is there, where the place is a folder; for people, where it is a URL.
    package var origin: NodeID
    /// Of a folder, where it was known.
    package var folder: FolderIdentity?
    package var state: State
    package var version: UInt64
    package var writer: NodeID
    /// Seconds since 1970 by the clock of the node that made it; for people only.
    package var createdSeconds: Int64

    package init(
        id: WatchID, batch: BatchID, source: SourceReference, language: String, languageRules: [[UInt8]] = [],
        priority: Int = 0, intervalSeconds: UInt32 = Limits.watchIntervalDefaultSeconds, queueURL: String = "",
        origin: NodeID, folder: FolderIdentity? = nil, state: State = .running, version: UInt64 = 1, writer: NodeID,
        createdSeconds: Int64
    ) {
        self.id = id
        self.batch = batch
        self.source = source
        self.language = language
        self.languageRules = languageRules
        self.priority = priority
        self.intervalSeconds = intervalSeconds
        self.queueURL = queueURL
        self.origin = origin
        self.folder = folder
        self.state = state
        self.version = version
        self.writer = writer
        self.createdSeconds = createdSeconds
    }

    package var isRunning: Bool { state == .running }

    /// About what it takes in memory and in a message.
    package var approximateByteCount: Int {
        256 + source.bytes.count + queueURL.utf8.count + languageRules.reduce(0) { $0 + $1.count + 16 }
    }

    /// Why it cannot be a watch, or nil: what every node checks of a watch that it is told of.
    package var complaint: String? {
        guard (1...Limits.sourceByteCount).contains(source.bytes.count), !source.bytes.contains(0) else {
            return "the source of a watch has 1 to \(Limits.sourceByteCount) bytes"
        }
        guard languageRules.count <= Limits.watchRuleCount,
            languageRules.allSatisfy({ (1...Limits.watchRuleByteCount).contains($0.count) })
        else {
            return "a watch has at most \(Limits.watchRuleCount) rules of \(Limits.watchRuleByteCount) bytes"
        }
        guard Limits.priorityRange.contains(priority) else { return "priority \(priority) is out of range" }
        guard Limits.watchIntervalSeconds.contains(intervalSeconds) else {
            return "the interval of a watch is \(Limits.watchIntervalSeconds) seconds"
        }
        guard queueURL.utf8.count <= Limits.sourceByteCount, queueURL.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return "the URL of a queue has at most \(Limits.sourceByteCount) printable ASCII characters"
        }
        guard (1...Limits.languageByteCount).contains(language.utf8.count), !language.utf8.contains(0x20) else {
            return "the language of a watch is no language"
        }
        return nil
    }

    /// The later write of one watch; ties go to the greater node id, then to the greater text.
    package static func merge(_ left: Watch, _ right: Watch) -> Watch {
        precondition(left.id == right.id, "merge of two different watches")
        if (left.version, left.writer) != (right.version, right.writer) {
            return (left.version, left.writer) > (right.version, right.writer) ? left : right
        }
        return left.text >= right.text ? left : right
    }
}

// MARK: Text

extension Watch {
    /// One line of printable ASCII that `init(text:id:)` reads back; what nodes keep and compare.
    package var text: String {
        func hex(_ bytes: [UInt8]) -> String { bytes.isEmpty ? "-" : HexText.text(bytes) }
        let folder = folder.map { "\($0.number):\($0.madeNanoseconds)" } ?? "-"
        let rules = languageRules.isEmpty ? "-" : languageRules.map(HexText.text).joined(separator: ",")
        return [
            "\(version)", "\(writer)", "\(state.rawValue)", "\(origin)", "\(priority)", "\(intervalSeconds)",
            "\(createdSeconds)", "\(batch.generation)", batch.name, language, queueURL.isEmpty ? "-" : queueURL,
            folder, hex(source.bytes), rules,
        ].joined(separator: " ")
    }

    /// Reads what `text` wrote; nil for anything else.
    package init?(text: String, id: WatchID) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 14, let version = UInt64(parts[0]), let writer = Bits128(hex: parts[1]),
            let state = UInt8(parts[2]).flatMap(State.init), let origin = Bits128(hex: parts[3]),
            let priority = Int(parts[4]), let interval = UInt32(parts[5]), let created = Int64(parts[6]),
            let generation = UInt32(parts[7]), let source = HexText.bytes(parts[12])
        else { return nil }
        var folder: FolderIdentity?
        if parts[11] != "-" {
            let pair = parts[11].split(separator: ":", omittingEmptySubsequences: false)
            guard pair.count == 2, let number = UInt64(pair[0]), let made = Int64(pair[1]) else { return nil }
            folder = FolderIdentity(number: number, madeNanoseconds: made)
        }
        var rules: [[UInt8]] = []
        if parts[13] != "-" {
            for rule in parts[13].split(separator: ",", omittingEmptySubsequences: false) {
                guard let bytes = HexText.bytes(rule) else { return nil }
                rules.append(bytes)
            }
        }
        self.init(
            id: id, batch: BatchID(name: parts[8], generation: generation), source: SourceReference(bytes: source),
            language: parts[9], languageRules: rules, priority: priority, intervalSeconds: interval,
            queueURL: parts[10] == "-" ? "" : parts[10], origin: NodeID(origin), folder: folder, state: state,
            version: version, writer: NodeID(writer), createdSeconds: created)
        if complaint != nil { return nil }
    }
}
