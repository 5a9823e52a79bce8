// A result that somebody has, and whether it may stand for another job's. Nobody's word is enough: the result itself says
// of which bytes, models and profile it is, and everything is computed again from that.

internal import ClusterModel
internal import Ledger
internal import Wire

/// The result of a job, as a ledger or another node gives it.
struct KnownResult: Hashable, Sendable {
    let job: JobKey
    /// As the job's record says.
    let pages: PageRange
    let language: String
    /// What its record says the result's digest is; nil where the record is not here.
    let recordDigest: Bits128?
    let body: [UInt8]

    /// The result for another job with this content: the same recognition, marked as reused, without a time of its own.
    ///
    /// Nil when this is not a result of the content, or damaged.
    func copy(for content: ContentKey) -> StoredResult? {
        guard var result = try? ResultCodec.decode(body),
            ContentKeys.key(of: result, pages: pages, language: language) == content,
            // The first part of a file that was split: the job has to become several itself.
            pages != .all || result.filePageCount == nil,
            recordDigest.map({ $0 == ResultCodec.digest(of: result) }) ?? true
        else { return nil }
        // The job that was recognised, not one that has a copy itself.
        result.reused = result.reused ?? job
        result.milliseconds = 0
        return try? ResultCodec.encode(result)
    }
}

extension KnownResult {
    /// Nil when the job is not done.
    init?(_ read: ReadRecord) {
        guard read.record.outcome == .done, let result = read.result else { return nil }
        self.init(
            job: read.record.key, pages: read.record.specification.pages,
            language: read.record.specification.language, recordDigest: read.record.resultDigest, body: result.body)
    }

    /// What another node says. Nil when it is about another job, or not of a done one.
    init?(_ detail: Ocr_V1_JobDetail, job: JobKey) {
        guard detail.line.job == job.description, detail.line.outcome == Outcome.done.name, detail.hasResult,
            detail.line.hasFirstPage == detail.line.hasLastPage
        else { return nil }
        self.init(
            job: job,
            pages: detail.line.hasFirstPage
                ? .pages(first: Int(detail.line.firstPage), last: Int(detail.line.lastPage)) : .all,
            language: detail.line.language, recordDigest: nil, body: Array(detail.result))
    }
}
