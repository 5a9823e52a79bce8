// Which job has the result of a content. A memory, not part of the ledger: losing it costs recognitions, nothing else.

internal import ClusterModel

/// The contents that were noted or asked for last: between half of `limit` and `limit` of them.
///
/// Two tables instead of an order: when the young one has half of the limit it becomes the old one, and what was in the old
/// one is forgotten. Each step takes constant time, so that a question never waits for others to be forgotten.
struct ContentIndex: Sendable {
    private var young: [ContentKey: JobKey] = [:]
    private var old: [ContentKey: JobKey] = [:]
    private let limit: Int

    init(limit: Int = Limits.contentCount) {
        precondition(limit >= 2, "a memory for nothing")
        self.limit = limit
    }

    var count: Int { young.count + old.keys.count { young[$0] == nil } }

    /// The job that was noted last for a content.
    mutating func job(_ content: ContentKey) -> JobKey? {
        if let job = young[content] { return job }
        guard let job = old[content] else { return nil }
        note(content, job)
        return job
    }

    mutating func note(_ content: ContentKey, _ job: JobKey) {
        young[content] = job
        guard young.count >= limit / 2 else { return }
        old = young
        young = [:]
    }
}

/// The latest results of this node, before and after their commit: what two slots get at the same time is recognised once
/// although the ledger does not have it yet.
struct RecentResults: Sendable {
    private var results: [ContentKey: KnownResult] = [:]
    /// By age; each content once.
    private var order: [ContentKey] = []
    private var byteCount = 0
    private let countLimit: Int
    private let byteLimit: Int

    init(countLimit: Int = Limits.recentResultCount, byteLimit: Int = Limits.recentResultByteCount) {
        self.countLimit = countLimit
        self.byteLimit = byteLimit
    }

    var count: Int { results.count }

    func result(_ content: ContentKey) -> KnownResult? { results[content] }

    /// Takes a result in, and drops the oldest ones until the limits are kept. One that is too large alone is not kept.
    mutating func note(_ content: ContentKey, _ result: KnownResult) {
        guard results[content] == nil, result.body.count <= byteLimit else { return }
        results[content] = result
        order.append(content)
        byteCount += result.body.count
        while order.count > countLimit || byteCount > byteLimit {
            byteCount -= results.removeValue(forKey: order.removeFirst())?.body.count ?? 0
        }
    }
}
