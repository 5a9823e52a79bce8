// One export from its first row to its last: a sink, what is counted, what failed, and the state from which it can go on.

internal import ClusterModel
internal import Glibc

/// Writes an export. Call `write` for each row, then `finish` once; or `abandon`, or `suspend`, if it failed.
package final class ExportRun {
    private let plan: ExportPlan
    private let facts: ExportFacts
    private let sink: any ExportSink
    private let failures: FailureList
    private var state: ExportState
    /// Of the row before.
    private var source: SourceReference?
    /// Where failures.jsonl is while nobody wants to have it.
    private let scratch: ScratchFolder?

    /// - Parameters:
    ///   - output: where the bytes go of an export without a path; standard output where it is nil.
    ///   - resuming: what `ExportState.load` gave, if it is of the same plan and facts.
    package init(
        _ plan: ExportPlan, _ facts: ExportFacts, output: (any ByteOutput)? = nil, resuming: ExportState? = nil
    ) throws(ExportError) {
        self.plan = plan
        self.facts = facts
        state = resuming ?? ExportState(identity: ExportIdentity(plan, facts))
        if let path = plan.beside(".failures.jsonl") ?? plan.failuresPath {
            scratch = nil
            failures = try FailureList(path: path, keeping: state.failuresByteCount)
        } else {
            let scratch = try ScratchFolder()
            self.scratch = scratch
            failures = try FailureList(path: scratch.path + Array("/failures.jsonl".utf8), keeping: 0)
        }
        do throws(ExportError) {
            sink = try Self.sink(plan, facts, output, resuming)
        } catch {
            if resuming == nil { failures.abandon() } else { failures.suspend() }
            throw error
        }
        if resuming == nil { ExportState.remove(plan) }
    }

    private static func sink(
        _ plan: ExportPlan, _ facts: ExportFacts, _ output: (any ByteOutput)?, _ resuming: ExportState?
    ) throws(ExportError) -> any ExportSink {
        /// The one file.
        func stream() throws(ExportError) -> any ByteOutput {
            let file =
                if let output { output } else {
                    try OutputFile(path: plan.path, keeping: resuming?.byteCount ?? 0) as any ByteOutput
                }
            return plan.isCompressed ? try ZstandardOutput(file) : file
        }
        if let format = plan.format.lines(facts, index: plan.index) {
            return LineSink(try stream(), format: format, isResumed: resuming != nil)
        }
        if let kind = plan.format.tree {
            if plan.isPacked { return try TarSink(try stream(), kind: kind) }
            if let path = plan.path { return try TreeSink(path: path, kind: kind, resuming: resuming) }
        } else if let path = plan.path {
            return try SQLiteSink(path: path, resuming: resuming)
        }
        throw ExportError("the format \(plan.format.rawValue) cannot go to standard output", hint: "add -o PATH")
    }

    /// Rows so far, those included that were there before.
    package var tally: ExportTally { state.tally }

    /// Adds a row. May make a checkpoint before it.
    package func write(_ record: ExportRecord) throws(ExportError) {
        let isNew = record.source != source
        if isNew, source != nil, sink.isCheckpointDue { try checkpoint() }
        try sink.write(record)
        try failures.add(record)
        state.tally.add(record, isNewSource: isNew)
        state.source = record.source.bytes
        state.firstPage = record.page ?? 0
        state.lastPage = record.lastPage ?? 0
        state.job = record.job
        source = record.source
    }

    private func checkpoint() throws(ExportError) {
        try failures.synchronise()
        state.failuresByteCount = failures.digest.byteCount
        try sink.checkpoint(&state)
        if plan.isResumable, plan.path != nil, !plan.isPacked { try state.save(plan) }
    }

    /// Completes the export, and puts manifest and failures where they belong.
    package func finish() throws(ExportError) {
        try failures.synchronise()
        let (plan, facts, tally, digest) = (plan, facts, tally, failures.digest)
        let closing = ExportClosing(
            manifest: { ManifestText.json(plan, facts, tally, $0, failures: digest) },
            failures: failures.partialPath)
        let files = try sink.finish(closing)
        // A tree has both inside.
        if plan.format.tree != nil, plan.path != nil, !plan.isPacked {
            failures.abandon()
        } else {
            if scratch == nil { try failures.finish() } else { failures.abandon() }
            if let path = plan.beside(".manifest.json") ?? plan.manifestPath {
                try OutputFile.replace(path, with: closing.manifest(files))
            }
        }
        ExportState.remove(plan)
    }

    /// Removes what was begun.
    package func abandon() {
        sink.abandon()
        failures.abandon()
        ExportState.remove(plan)
    }

    /// Leaves what was begun where the export can go on; else removes it. Returns whether it can.
    package func suspend() -> Bool {
        // A database tells its state only when it is closed.
        sink.suspend()
        failures.suspend()
        guard ExportState.load(plan) != nil else {
            abandon()
            return false
        }
        return true
    }
}

/// A folder in the system's place for temporary files, removed with it.
package final class ScratchFolder {
    package let path: [UInt8]

    package init() throws(ExportError) {
        let place = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(place)/node-export-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .system("no temporary folder can be made in \(place)") }
        path = template.dropLast().map { UInt8(bitPattern: $0) }
    }

    deinit { TemporaryTree.remove(path) }
}
