// The jobs that this node may start next: a window over the ledger's pending records (DESIGN §6).

import ClusterModel

/// A job in the window.
struct QueueEntry: Hashable, Sendable {
    let key: JobKey
    let position: QueuePosition
    /// Language specification, for affinity; empty while it has not been read.
    var language: String = ""
}

/// A sorted window over the pending records: at most 2 × `Limits.queueWindowCount` entries, whatever the backlog.
///
/// Everything pending stands at a position after `cursor` (not read yet) or was read: waiting here, claimed, or deferred.
struct WorkQueue: Sendable {
    private(set) var entries: [QueueEntry] = []
    private var keys: Set<JobKey> = []
    /// Everything up to here has been read from the ledger. Nil before the first read.
    private(set) var cursor: QueuePosition?
    /// Whether the last read reached the end of the pending records.
    private(set) var isExhausted = false
    /// How often the head was passed over by affinity.
    private var headPasses = 0

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }

    /// Whether more should be read from the ledger before entries are taken.
    var wantsRefill: Bool { !isExhausted && entries.count < Limits.queueWindowCount / 2 }

    /// Whether it is empty only because the ledger has not been read to its end.
    var wantsMore: Bool { entries.isEmpty && !isExhausted }

    /// Takes the answer to a read of `limit` records after `cursor`.
    mutating func refill(_ read: [QueueEntry], lastPosition: QueuePosition?, reachedEnd: Bool) {
        for entry in read { insertSorted(entry) }
        if let lastPosition { cursor = lastPosition }
        isExhausted = reachedEnd
    }

    /// A record has become pending, or a deferred or returned one is due.
    mutating func insert(_ entry: QueueEntry) {
        guard let cursor, entry.position <= cursor else {
            isExhausted = false
            return
        }
        insertSorted(entry)
        if entries.count > 2 * Limits.queueWindowCount {
            for dropped in entries[Limits.queueWindowCount...] { keys.remove(dropped.key) }
            entries.removeSubrange(Limits.queueWindowCount...)
            self.cursor = entries.last?.position
            isExhausted = false
        }
    }

    /// Forgets the window: the next read starts from the front.
    mutating func rescan() {
        entries.removeAll(keepingCapacity: true)
        keys.removeAll(keepingCapacity: true)
        cursor = nil
        isExhausted = false
        headPasses = 0
    }

    mutating func remove(_ key: JobKey) {
        guard keys.remove(key) != nil, let index = entries.firstIndex(where: { $0.key == key }) else { return }
        entries.remove(at: index)
    }

    /// Takes the next entry for a slot: the first with the slot's language and the head's priority, unless the head has
    /// been passed over `Limits.affinityPassCount` times; else the head.
    mutating func take(preferring language: String?) -> QueueEntry? {
        guard let head = entries.first else { return nil }
        var index = 0
        if let language, head.language != language, headPasses < Limits.affinityPassCount,
            let match = entries.firstIndex(where: { $0.language == language }),
            entries[match].position.priority == head.position.priority
        {
            index = match
        }
        headPasses = index == 0 ? 0 : headPasses + 1
        let entry = entries.remove(at: index)
        keys.remove(entry.key)
        return entry
    }

    private mutating func insertSorted(_ entry: QueueEntry) {
        guard keys.insert(entry.key).inserted else { return }
        if let last = entries.last, last.position > entry.position {
            var low = 0
            var high = entries.count
            while low < high {
                let middle = (low + high) / 2
                if entries[middle].position < entry.position { low = middle + 1 } else { high = middle }
            }
            entries.insert(entry, at: low)
        } else {
            entries.append(entry)
        }
    }
}

/// Jobs that wait for their backoff, by due time. Bounded: those beyond `Limits.deferredCount` are forgotten here and
/// found again in the ledger when the queue has been read to its end.
struct DeferredJobs: Sendable {
    private struct Due: Hashable, Comparable, Sendable {
        let instant: Instant
        let key: JobKey
        static func < (left: Due, right: Due) -> Bool {
            left.instant != right.instant ? left.instant < right.instant : left.key < right.key
        }
    }

    private struct Place: Hashable, Sendable {
        let due: Instant
        let position: QueuePosition
        let isUnreachable: Bool
    }

    private var byKey: [JobKey: Place] = [:]
    /// Sorted, latest first, so that the next one is at the end.
    private var order: [Due] = []

    var count: Int { byKey.count }
    /// Those whose file nobody could read.
    private(set) var unreachableCount = 0
    var nextDue: Instant? { order.last?.instant }

    func contains(_ key: JobKey) -> Bool { byKey[key] != nil }

    /// Returns false when there is no room for it.
    mutating func insert(
        _ key: JobKey, due: Instant, position: QueuePosition, isUnreachable: Bool = false
    ) -> Bool {
        guard byKey.count < Limits.deferredCount else { return false }
        remove(key)
        byKey[key] = Place(due: due, position: position, isUnreachable: isUnreachable)
        if isUnreachable { unreachableCount += 1 }
        let entry = Due(instant: due, key: key)
        let index = order.firstIndex { $0 < entry } ?? order.endIndex
        order.insert(entry, at: index)
        return true
    }

    mutating func remove(_ key: JobKey) {
        guard let found = forget(key) else { return }
        let entry = Due(instant: found.due, key: key)
        if let index = order.firstIndex(of: entry) { order.remove(at: index) }
    }

    /// Those whose time has come, earliest first.
    mutating func takeDue(at now: Instant) -> [(JobKey, QueuePosition)] {
        var taken: [(JobKey, QueuePosition)] = []
        while let last = order.last, last.instant <= now {
            order.removeLast()
            if let found = forget(last.key) { taken.append((last.key, found.position)) }
        }
        return taken
    }

    private mutating func forget(_ key: JobKey) -> Place? {
        let found = byKey.removeValue(forKey: key)
        if found?.isUnreachable == true { unreachableCount -= 1 }
        return found
    }
}
