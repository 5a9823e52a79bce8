// What an export counts, and the manifest that says it.

internal import ClusterModel

/// Counts of the rows of an export.
package struct ExportTally: Codable, Hashable, Sendable {
    /// Recognised for the job itself.
    package private(set) var done = 0
    /// Done with the result of another job with the same image.
    package private(set) var reused = 0
    package private(set) var failed = 0
    package private(set) var cancelled = 0
    package private(set) var pending = 0
    package private(set) var sources = 0
    package private(set) var pages = 0
    package private(set) var words = 0
    package private(set) var blank = 0
    private var engines: [String: Int] = [:]
    private var models: [String: Int] = [:]
    private var profiles: [String: Int] = [:]
    private var languages: [String: Int] = [:]
    /// Engines, models, profiles, languages that are told apart; others are counted together as "other".
    private static let kindCount = 1_000

    package init() {}

    package var total: Int { done + reused + failed + cancelled + pending }

    /// - Parameter isNewSource: whether the row before was of another source.
    package mutating func add(_ record: ExportRecord, isNewSource: Bool) {
        switch record.outcome {
        case "done": if record.result?.reused == nil { done += 1 } else { reused += 1 }
        case "failed": failed += 1
        case "cancelled": cancelled += 1
        default: pending += 1
        }
        if isNewSource { sources += 1 }
        Self.count(record.language, in: &languages)
        guard let result = record.result else { return }
        pages += result.pages.count
        words += result.wordCount
        blank += result.pages.count { $0.isBlank }
        Self.count(result.engine, in: &engines)
        Self.count(result.models, in: &models)
        Self.count(result.profileDigest, in: &profiles)
    }

    private static func count(_ name: String, in counts: inout [String: Int]) {
        let isKnown = counts[name] != nil || counts.count < kindCount
        counts[isKnown ? name : "other", default: 0] += 1
    }

    /// Members of the manifest.
    var members: [(String, JSONValue)] {
        func list(_ counts: [String: Int], _ name: String, _ counted: String) -> JSONValue {
            .array(
                counts.sorted { $0.key < $1.key }.map {
                    .object([(name, .text($0.key)), (counted, JSONValue($0.value))])
                })
        }
        return [
            (
                "counts",
                .object([
                    ("total", JSONValue(total)), ("done", JSONValue(done)), ("reused", JSONValue(reused)),
                    ("failed", JSONValue(failed)), ("cancelled", JSONValue(cancelled)), ("pending", JSONValue(pending)),
                ])
            ),
            ("sources", JSONValue(sources)), ("pages", JSONValue(pages)), ("words", JSONValue(words)),
            ("blank_pages", JSONValue(blank)), ("engines", list(engines, "engine", "results")),
            ("models", list(models, "models", "results")), ("profiles", list(profiles, "profile", "results")),
            ("languages", list(languages, "language", "jobs")),
        ]
    }
}

/// failures.jsonl: a line for each source of which something failed or was cancelled. `node submit --manifest` takes it.
final class FailureList {
    let path: [UInt8]
    private let file: OutputFile
    private var last: SourceReference?

    /// - Parameters:
    ///   - path: becomes the list at the end; PATH.partial until then.
    ///   - kept: bytes of an earlier PATH.partial that stay.
    init(path: [UInt8], keeping kept: Int) throws(ExportError) {
        self.path = path
        file = try OutputFile(path: path, keeping: kept)
    }

    var digest: StreamDigest { file.digest }
    var partialPath: [UInt8] { OutputFile.partialName(for: path) }

    func add(_ record: ExportRecord) throws(ExportError) {
        guard record.outcome == "failed" || record.outcome == "cancelled", record.source != last else { return }
        last = record.source
        var line: [UInt8] = []
        JSONValue.object([
            ("source", .text(record.source.text)), ("language", .text(record.language)),
            ("reason", JSONValue(record.reason ?? record.outcome)), ("outcome", .text(record.outcome)),
            ("job", .text(record.job)), ("page", JSONValue(record.page)), ("attempts", JSONValue(record.attempts)),
        ]).write(to: &line)
        try file.write(line + [0x0A])
    }

    func synchronise() throws(ExportError) { try file.synchronise() }
    func finish() throws(ExportError) { try file.finish() }
    func abandon() { file.abandon() }
    func suspend() { file.suspend() }
}

/// manifest.json
enum ManifestText {
    static func json(
        _ plan: ExportPlan, _ facts: ExportFacts, _ tally: ExportTally, _ files: ExportFiles, failures: StreamDigest
    ) -> [UInt8] {
        func file(_ name: JSONValue, _ digest: StreamDigest) -> JSONValue {
            .object([("name", name), ("bytes", JSONValue(digest.byteCount)), ("sha256", .text(digest.sha256))])
        }
        let name = plan.name.map { JSONValue.text(TreeIndex.text($0)) } ?? .null
        var list: [JSONValue] = []
        var members: [(String, JSONValue)] = [
            ("manifest_version", .integer(1)), ("batch", .text(facts.batch)), ("batch_created", .text(facts.created)),
            ("format", .text(plan.format.rawValue)), ("compression", plan.isCompressed ? .text("zstd") : .null),
            ("complete", .bool(tally.pending == 0 && !plan.lacksShards)),
        ]
        switch files {
        case .stream(let digest): list.append(file(name, digest))
        case .tree(let tree, let index), .archive(let tree, let index, _):
            members += [("documents", JSONValue(tree.fileCount)), ("document_bytes", JSONValue(tree.byteCount))]
            list.append(file(.text(TreeName.index), index))
        }
        list.append(
            file(
                plan.name == nil || plan.format.tree != nil
                    ? .text(TreeName.failures)
                    : .text(TreeIndex.text((plan.name ?? []) + Array(".failures.jsonl".utf8))), failures))
        members += tally.members + [("files", .array(list))]
        var text = Array("{\n".utf8)
        for (number, (key, value)) in members.enumerated() {
            text += Array("  \"\(key)\": ".utf8)
            value.write(to: &text)
            text += Array((number == members.count - 1 ? "\n" : ",\n").utf8)
        }
        return text + Array("}\n".utf8)
    }
}
