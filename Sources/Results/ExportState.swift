// How far an export is: what PATH.partial.state holds, so that the same command goes on where it was interrupted.

internal import ClusterModel
internal import FoundationEssentials
internal import Glibc

/// What an export is asked for.
package struct ExportPlan: Sendable {
    package var format: ExportFormat
    /// nil: to an output that the caller has.
    package var path: [UInt8]?
    package var isCompressed = false
    /// Of OpenSearch; nil for the batch's name.
    package var index: String?
    /// A tree as one tar.
    package var isPacked = false
    /// Where manifest and failures go of an export without a path; nil: nowhere.
    package var manifestPath: [UInt8]?
    package var failuresPath: [UInt8]?
    /// The file's name in the manifest, where there is no path.
    package var givenName: [UInt8]?
    /// Whether what is interrupted goes on; false for an export that may be partial, whose jobs change.
    package var isResumable = true
    /// Whether jobs are missing because nobody answered for them.
    package var lacksShards = false

    package init(format: ExportFormat, path: [UInt8]?) {
        self.format = format
        self.path = path.map(TreeSink.withoutSlash)
    }

    /// The last component of the path.
    var name: [UInt8]? {
        if let givenName { return givenName }
        return path.map { path in
            Array(path[(path.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0)...])
        }
    }

    func beside(_ ending: String) -> [UInt8]? { path.map { $0 + Array(ending.utf8) } }
}

/// What decides the bytes of an export besides the results.
package struct ExportIdentity: Codable, Hashable, Sendable {
    /// Raised when exports of earlier versions cannot be gone on with.
    var version = 1
    package var format: String
    package var isCompressed: Bool
    package var index: String?
    package var facts: ExportFacts

    package init(_ plan: ExportPlan, _ facts: ExportFacts) {
        format = plan.format.rawValue
        isCompressed = plan.isCompressed
        index = plan.index
        self.facts = facts
    }
}

/// Where an export can go on, and what it had counted there.
package struct ExportState: Codable, Hashable, Sendable {
    package struct Tree: Codable, Hashable, Sendable {
        var indexByteCount: Int
        var common: [[UInt8]]?
        var files: TreeFiles
    }

    package var identity: ExportIdentity
    /// The last row: bytes of its source, its pages (0: a whole file), its job.
    package var source: [UInt8] = []
    package var firstPage = 0
    package var lastPage = 0
    package var job = ""
    package var tally = ExportTally()
    var byteCount = 0
    var failuresByteCount = 0
    var tree: Tree?

    package init(identity: ExportIdentity) { self.identity = identity }

    var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // Nothing in it cannot be encoded.
        return (try? encoder.encode(self)).map(Array.init) ?? []
    }

    init?(json: [UInt8]) {
        guard let state = try? JSONDecoder().decode(ExportState.self, from: Data(json)) else { return nil }
        self = state
    }

    static let byteLimit = 16 << 20

    // MARK: The file

    /// The state that an export to this path left, if it can go on. Takes nothing, removes nothing.
    package static func load(_ plan: ExportPlan) -> ExportState? {
        guard plan.isResumable, !plan.isPacked, let path = plan.beside(".partial.state"),
            let bytes = CPath.contents(of: path, limit: byteLimit), let end = bytes.firstIndex(of: 0x0A)
        else { return nil }
        // What is not synced at each step is whole only while the machine runs.
        guard Array(bytes[..<end]) == boot else { return nil }
        guard let state = ExportState(json: Array(bytes[(end + 1)...])) else { return nil }
        guard plan.format == .sqlite else { return state }
        // The database may be ahead of the file.
        return plan.beside(".partial").flatMap(SQLiteSink.state(in:)).flatMap {
            $0.identity == state.identity ? $0 : nil
        }
    }

    func save(_ plan: ExportPlan) throws(ExportError) {
        guard let path = plan.beside(".partial.state") else { return }
        try OutputFile.replace(path, with: Self.boot + [0x0A] + json)
    }

    static func remove(_ plan: ExportPlan) {
        if let path = plan.beside(".partial.state") { CPath.with(path) { _ = unlink($0) } }
    }

    /// Changes with each start of the machine.
    private static var boot: [UInt8] {
        (CPath.contents(of: Array("/proc/sys/kernel/random/boot_id".utf8), limit: 100) ?? []).filter { $0 > 0x20 }
    }
}
