// One job as exports write it: the columns of CLI.md, whatever the format.

package import ClusterModel
package import Wire

/// A job and, when it is done, its result.
package struct ExportRecord: Hashable, Sendable {
    package var job: String
    package var source: SourceReference
    package var batch: String
    /// First page of the job's range; nil when it covers the whole file.
    package var page: Int?
    /// Last page of the job's range; nil when it covers the whole file.
    package var lastPage: Int?
    package var outcome: String
    package var language: String
    package var attempts: Int
    /// "undecodable: …" of a failed job, or of the latest attempt of a pending one.
    package var reason: String?
    /// Name of the node that recognised it.
    package var node: String?
    package var result: JobResult?

    package init(
        job: String, source: SourceReference, batch: String, page: Int? = nil, lastPage: Int? = nil, outcome: String,
        language: String, attempts: Int, reason: String? = nil, node: String? = nil, result: JobResult? = nil
    ) {
        self.job = job
        self.source = source
        self.batch = batch
        self.page = page
        self.lastPage = lastPage
        self.outcome = outcome
        self.language = language
        self.attempts = attempts
        self.reason = reason
        self.node = node
        self.result = result
    }

    /// Reads what the node sent. Throws when the result's bytes are damaged.
    package init(_ row: Ocr_V1_ExportRow) throws(ResultCodecError) {
        self.init(
            job: row.job, source: SourceReference(bytes: Array(row.source)), batch: row.batch,
            page: row.hasFirstPage ? Int(row.firstPage) : nil, lastPage: row.hasLastPage ? Int(row.lastPage) : nil,
            outcome: row.outcome, language: row.language,
            attempts: Int(row.attempts),
            reason: row.hasFailure ? "\(row.failure.code): \(row.failure.detail)" : nil,
            node: row.hasNode ? row.node : nil,
            result: row.hasResult ? try ResultCodec.decode(Array(row.result)) : nil)
    }

    /// The columns of CLI.md in their order. A figure of a job without a result is null; width, height, dpi and rotation
    /// are those of its first page.
    package var columns: [(String, JSONValue)] {
        let first = result?.pages.first
        return [
            ("job", .text(job)), ("source", .text(source.text)), ("batch", .text(batch)),
            ("page", JSONValue(page ?? (result == nil ? nil : 1))),
            ("pages", JSONValue(result.map { $0.filePageCount ?? $0.pages.count })),
            ("outcome", .text(outcome)), ("language", .text(language)), ("text", JSONValue(result?.text)),
            ("confidence", result?.confidence.map { .float($0) } ?? .null), ("words", JSONValue(result?.wordCount)),
            ("width", JSONValue(first?.width)), ("height", JSONValue(first?.height)), ("dpi", JSONValue(first?.dpi)),
            ("rotation", JSONValue(first?.rotationDegrees)),
            ("sha256", JSONValue(result.map { HexText.text($0.sourceSHA256) })),
            ("engine", JSONValue(result?.engine)),
            ("models", JSONValue(result?.models)), ("profile", JSONValue(result?.profileDigest)),
            ("node", JSONValue(node ?? result?.node.description)), ("attempts", JSONValue(attempts)),
            ("milliseconds", JSONValue(result?.milliseconds)), ("reason", JSONValue(reason)),
        ]
    }

    /// The names of `columns`.
    package static let columnNames = ExportRecord(
        job: "", source: SourceReference(bytes: []), batch: "", outcome: "", language: "", attempts: 0
    ).columns.map(\.0)

    /// What JSON Lines adds to the columns: the job whose recognition the result repeats, whether the job is blank, and its
    /// pages one by one.
    package var details: [(String, JSONValue)] {
        let reused = ("reused", JSONValue(result?.reused?.description))
        guard let result else { return [reused] }
        let pages = result.pages.enumerated().map { index, page in
            JSONValue.object([
                ("page", JSONValue((self.page ?? 1) + index)), ("text", .text(page.text)),
                ("confidence", page.confidence.map { .float($0) } ?? .null), ("words", JSONValue(page.wordCount)),
                ("width", JSONValue(page.width)), ("height", JSONValue(page.height)), ("dpi", JSONValue(page.dpi)),
                ("rotation", JSONValue(page.rotationDegrees)), ("blank", .bool(page.isBlank)),
            ])
        }
        return [reused, ("blank", .bool(result.isBlank))] + (pages.count > 1 ? [("page_results", .array(pages))] : [])
    }
}
