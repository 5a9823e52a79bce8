// What tells whether two files have the same bytes.

internal import ClusterModel
import Crypto
import Glibc
import Synchronization

/// SHA-256 of a file's bytes.
package struct SourceDigest: Hashable, Sendable {
    package static let byteCount = 32
    package let bytes: [UInt8]

    /// Nil for any other count than `byteCount`.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    fileprivate init(_ digest: SHA256.Digest) { bytes = Array(digest) }

    /// Reads the whole file, blocking. Throws `sourceChanged` when the file changed meanwhile.
    static func compute(_ file: OpenFile, of source: SourceReference) throws(Failure) -> SourceDigest {
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: Limits.sourceChunkByteCount)
        var offset: Int64 = 0
        while true {
            let count = buffer.withUnsafeMutableBytes { file.read(into: $0, at: offset) }
            guard let count else {
                throw Failure(.sourceUnreadable, "\(source.text): \(String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            buffer.withUnsafeBytes { hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            offset += Int64(count)
            // A file that somebody appends to all the time would never end.
            guard offset <= file.facts.byteCount else { break }
        }
        guard offset == file.facts.byteCount, file.isUnchanged else {
            throw Failure(.sourceChanged, "\(source.text) changed while it was read")
        }
        return SourceDigest(hash.finalize())
    }
}

/// The digest of bytes as they come.
final class RunningDigest: Sendable {
    private let hash = Mutex(SHA256())

    func update(_ bytes: UnsafeRawBufferPointer) { hash.withLock { $0.update(bufferPointer: bytes) } }

    /// Of what has come so far.
    var digest: SourceDigest { hash.withLock { SourceDigest($0.finalize()) } }
}

/// Digests that were computed, by path and state of the file; at most `Limits.sourceDigestCount`.
package final class DigestCache: Sendable {
    private struct Name: Hashable {
        let source: SourceReference
        let facts: FileFacts
    }

    private let kept: Mutex<RecentValues<Name, SourceDigest>>

    package init(limit: Int = Limits.sourceDigestCount) { kept = Mutex(RecentValues(limit: limit)) }

    package var count: Int { kept.withLock { $0.count } }

    /// The digest of a file, from memory or by reading all of it.
    func digest(_ file: OpenFile, of source: SourceReference) throws(Failure) -> SourceDigest {
        let name = Name(source: source, facts: file.facts)
        if let known = kept.withLock({ $0.value(name) }) { return known }
        let digest = try SourceDigest.compute(file, of: source)
        kept.withLock { $0.set(name, digest) }
        return digest
    }
}

/// The values that were used last, at most `limit`.
struct RecentValues<Name: Hashable & Sendable, Value: Sendable>: Sendable {
    private var values: [Name: (value: Value, use: UInt64)] = [:]
    private var useCount: UInt64 = 0
    private let limit: Int

    init(limit: Int) {
        precondition(limit > 0, "a memory for nothing")
        self.limit = limit
    }

    var count: Int { values.count }

    mutating func value(_ name: Name) -> Value? {
        guard let found = values[name] else { return nil }
        useCount += 1
        values[name] = (found.value, useCount)
        return found.value
    }

    /// Forgets the quarter that was used least recently when there are too many: one pass pays for many entries.
    mutating func set(_ name: Name, _ value: Value) {
        useCount += 1
        values[name] = (value, useCount)
        guard values.count > limit else { return }
        let uses = values.values.map(\.use).sorted()
        let oldest = uses[uses.count - 1 - limit * 3 / 4]
        values = values.filter { $0.value.use > oldest || $0.key == name }
    }
}
