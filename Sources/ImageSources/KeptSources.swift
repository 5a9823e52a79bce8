// Images whose jobs were given back before their slots took them: some of those jobs come again, to another slot.

internal import ClusterModel

/// A file as it was submitted, whichever part of it a job covers.
struct SourceFile: Hashable {
    private let source: SourceReference
    private let fingerprint: SourceFingerprint
    private let origin: NodeID?

    /// Nil where nothing tells one version of the file from another.
    init?(_ specification: JobSpecification) {
        guard let fingerprint = specification.fingerprint else { return nil }
        source = specification.source
        self.fingerprint = fingerprint
        origin = specification.origin
    }
}

/// At most `limit` images, the oldest first. They hold their memory of the budget.
struct KeptSources {
    private struct Entry {
        let file: SourceFile
        let source: ResolvedSource
        let until: UInt64
    }

    private let limit: Int
    private var entries: [Entry] = []

    init(limit: Int) { self.limit = limit }

    /// Keeps an image, instead of the oldest one if there are too many.
    mutating func keep(_ source: ResolvedSource, of file: SourceFile, until: UInt64) {
        entries.removeAll { $0.file == file }
        if entries.count >= limit, !entries.isEmpty { entries.removeFirst() }
        entries.append(Entry(file: file, source: source, until: until))
    }

    /// Gives an image away.
    mutating func take(_ file: SourceFile) -> ResolvedSource? {
        guard let index = entries.firstIndex(where: { $0.file == file }) else { return nil }
        return entries.remove(at: index).source
    }

    mutating func removeExpired(at now: UInt64) { entries.removeAll { $0.until <= now } }

    mutating func removeAll() { entries = [] }

    /// Drops the oldest ones until so many bytes are free; returns how many are.
    ///
    /// - Parameter isShared: whether somebody else holds the image, so that nothing is free without it.
    mutating func remove(byteCount: Int, isShared: (ResolvedSource) -> Bool) -> Int {
        var freed = 0
        while freed < byteCount, !entries.isEmpty {
            let source = entries.removeFirst().source
            if !isShared(source) { freed += source.memoryByteCount }
        }
        return freed
    }
}
