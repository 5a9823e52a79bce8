// Files to read, nodes to read them from, and something to wait at.

import ClusterModel
import Foundation
import Glibc
import ImageSources
import Synchronization
import Testing

/// A directory of its own, removed at the end.
final class Place: Sendable {
    let root: String

    init() throws {
        root = FileManager.default.temporaryDirectory.path + "/image-sources-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func directory(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
        return "\(root)/\(name)"
    }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(root)/\(name)"))
        return "\(root)/\(name)"
    }

    /// The fingerprint of a file as a submission takes it.
    static func fingerprint(_ path: String) throws -> SourceFingerprint {
        var facts = stat()
        try #require(lstat(path, &facts) == 0)
        return SourceFingerprint(
            byteCount: Int64(facts.st_size),
            modifiedNanoseconds: Int64(facts.st_mtim.tv_sec) * 1_000_000_000 + Int64(facts.st_mtim.tv_nsec))
    }

    static func setTime(_ path: String, nanoseconds: Int64) throws {
        let time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        try #require(utimensat(AT_FDCWD, path, [time, time], 0) == 0)
    }
}

func nodeID(_ number: UInt64) -> NodeID { NodeID(Bits128(high: 0xA0, low: number)) }
func jobKey(_ number: UInt64) -> JobKey { JobKey(Bits128(high: 0xB0, low: number)) }

func specification(
    _ path: String, origin: NodeID?, fingerprint: SourceFingerprint? = nil
) -> JobSpecification {
    JobSpecification(
        batch: BatchID(name: "batch"), source: SourceReference(path: path), language: "eng", fingerprint: fingerprint,
        origin: origin)
}

func assignment(_ number: UInt64, _ specification: JobSpecification, attempt: UInt32 = 1) -> Assignment {
    Assignment(
        key: jobKey(number), epoch: 0, attempt: attempt, specification: specification, profile: .standard)
}

func pattern(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) &+ seed }
}

/// All bytes of a descriptor, as a worker reads them.
func bytes(_ descriptor: CInt) -> [UInt8] {
    var facts = stat()
    guard fstat(descriptor, &facts) == 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: Int(facts.st_size))
    let count = pread(descriptor, &bytes, bytes.count, 0)
    return Array(bytes.prefix(max(0, count)))
}

func bytes(_ source: ResolvedSource) -> [UInt8] { withExtendedLifetime(source) { bytes(source.descriptor) } }
func bytes(_ file: OpenFile) -> [UInt8] { withExtendedLifetime(file) { bytes(file.descriptor) } }

extension Result {
    var failure: Failure? { if case .failure(let failure) = self { failure } else { nil } }
}

/// Holds threads until it is opened, and tells how many have come.
///
/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
final class Gate: @unchecked Sendable {
    private let condition = NSCondition()
    private var isOpen = false
    private var arrived = 0

    func pass() {
        condition.lock()
        arrived += 1
        condition.broadcast()
        while !isOpen { condition.wait() }
        condition.unlock()
    }

    func open() {
        condition.lock()
        isOpen = true
        condition.broadcast()
        condition.unlock()
    }

    /// Waits until so many have come.
    func await(_ count: Int) throws {
        let deadline = Date(timeIntervalSinceNow: 30)
        condition.lock()
        defer { condition.unlock() }
        while arrived < count { try #require(condition.wait(until: deadline), "\(arrived) of \(count) came") }
    }
}

/// A value that another thread makes.
final class Later<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Value) {
        Thread.detachNewThread { [self] in
            let made = body()
            value.withLock { $0 = made }
            ended.signal()
        }
    }

    var isThere: Bool { value.withLock { $0 != nil } }

    func get() throws -> Value {
        try #require(ended.wait(timeout: .now() + 30) == .success, "a thread did not end")
        return try #require(value.withLock { $0 })
    }
}
