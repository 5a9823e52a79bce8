// From a job to the bytes of its image, wherever they are.
//
// The order (docs/workers.md "Where an image comes from"): the file itself when it was submitted here; a spooled copy;
// the same path, when it is proven to be the same file; the origin; a copy spooled at the shard's replicas. What is in an
// object store or on a web server every node reads by itself.

package import ClusterModel
import Glibc
import Synchronization

/// An image that is ready to be read, with the memory that it holds.
package final class ResolvedSource: Sendable {
    package enum Way: Hashable, Sendable {
        case local, spooled, shared
        case fetched(from: NodeID)
        /// From a store or a web server.
        case remote

        /// Whether the bytes came over the network, into memory.
        var isFetched: Bool {
            switch self {
            case .local, .spooled, .shared: false
            case .fetched, .remote: true
            }
        }
    }

    package let way: Way
    private let file: OpenFile
    private let grant: MemoryGrant?
    /// Of bytes in memory, which do not change.
    private let knownDigest = Mutex<SourceDigest?>(nil)

    init(_ file: OpenFile, way: Way, grant: MemoryGrant? = nil) {
        self.file = file
        self.way = way
        self.grant = grant
    }

    /// Of a regular file, or of a sealed one in memory; valid as long as this value.
    package var descriptor: CInt { file.descriptor }
    package var byteCount: Int64 { file.facts.byteCount }
    /// Memory that it takes of this node's budget.
    package var memoryByteCount: Int { grant?.byteCount ?? 0 }

    /// SHA-256 of its bytes, blocking: about 1 ms a MB. Nil when they cannot be read or change meanwhile.
    package func digest(of source: SourceReference) -> SourceDigest? {
        guard grant != nil else { return try? SourceDigest.compute(file, of: source) }
        return knownDigest.withLock { known in
            if known == nil { known = try? SourceDigest.compute(file, of: source) }
            return known
        }
    }

    func readAhead() { if memoryByteCount == 0 { file.readAhead() } }
}

package struct SourceResolver: Sendable {
    /// What the resolver asks about the cluster. Both may be called on any thread and must not wait.
    package struct Neighbourhood: Sendable {
        /// Nodes that hold the shard of a job, this one perhaps included, in the order in which they are asked.
        package var replicas: @Sendable (JobKey) -> [NodeID]
        /// The label of a node, for reasons.
        package var name: @Sendable (NodeID) -> String

        package init(
            replicas: @escaping @Sendable (JobKey) -> [NodeID], name: @escaping @Sendable (NodeID) -> String
        ) {
            self.replicas = replicas
            self.name = name
        }
    }

    package let node: NodeID
    let maximumBytes: Int
    let spool: Spool?
    let peers: any SourcePeers
    let remotes: any RemoteSources
    let neighbourhood: Neighbourhood
    package let directories: SharedDirectories
    let digests: DigestCache

    /// Times that a file is asked for anew because it is larger than was said.
    private static let sizeAttemptCount = 3

    package init(
        node: NodeID, maximumBytes: Int, spool: Spool?, peers: any SourcePeers, remotes: any RemoteSources,
        neighbourhood: Neighbourhood,
        directories: SharedDirectories = SharedDirectories(), digests: DigestCache = DigestCache()
    ) {
        self.node = node
        self.maximumBytes = maximumBytes
        self.spool = spool
        self.peers = peers
        self.remotes = remotes
        self.neighbourhood = neighbourhood
        self.directories = directories
        self.digests = digests
    }

    /// The label of a node, for reasons.
    package var neighbourhoodName: @Sendable (NodeID) -> String { neighbourhood.name }

    /// Gives the bytes of a job's source, blocking.
    ///
    /// - Parameter grant: waits until so many bytes of memory may be used; nil when the fetch was cancelled.
    func resolve(
        _ key: JobKey, _ specification: JobSpecification, cancellation: SourceCancellation,
        grant: (Int) -> MemoryGrant?
    ) -> Result<ResolvedSource, Failure> {
        if specification.source.remoteScheme != nil {
            return fetchRemote(specification, cancellation: cancellation, grant: grant)
        }
        guard let origin = specification.origin, origin != node, specification.source.isPath else {
            return FileSource.openFile(specification.source, maximumBytes: maximumBytes)
                .map { ResolvedSource($0, way: .local) }
        }
        if let copy = spool?.open(key, specification.fingerprint), copy.facts.byteCount <= maximumBytes {
            return .success(ResolvedSource(copy, way: .spooled))
        }
        if let file = openShared(key, specification, origin: origin, cancellation: cancellation) {
            return .success(ResolvedSource(file, way: .shared))
        }
        let request = SourceRequest(key: key, specification)
        let reason: String
        switch fetch(request, from: origin, cancellation: cancellation, grant: grant) {
        case .file(let source): return .success(source)
        case .failed(let failure): return .failure(Self.failure(failure, on: neighbourhood.name(origin)))
        case .cancelled: return .failure(Self.cancelled)
        case .notHere(let why): reason = "which does not give it: \(why)"
        case .unreachable(let why): reason = "which cannot be reached" + (why.isEmpty ? "" : " (\(why))")
        }
        for replica in neighbourhood.replicas(key) where replica != node && replica != origin {
            switch fetch(request, from: replica, cancellation: cancellation, grant: grant) {
            case .file(let source): return .success(source)
            case .cancelled: return .failure(Self.cancelled)
            // What a replica cannot read says nothing about the file.
            case .failed, .notHere, .unreachable: continue
            }
        }
        return .failure(
            Failure(.sourceUnreachable, "its file is on \(neighbourhood.name(origin)), \(reason)"))
    }

    /// Nobody asked for it any more; no attempt's fault.
    static let cancelled = Failure(.sourceUnreachable, "the job was given back before its file had arrived")

    /// What a node said about its file. A code that has nothing to do with files is not believed.
    private static func failure(_ failure: Failure, on name: String) -> Failure {
        switch failure.code {
        case .sourceMissing, .sourceUnreadable, .sourceChanged, .sourceUnreachable, .notARegularFile, .emptyFile,
            .tooManyBytes, .objectMissing, .objectChanged:
            Failure(failure.code, "on \(name): \(failure.detail)")
        case .outOfMemory: failure
        case .undecodable, .unsupportedFormat, .tooManyPixels, .tooManyPages, .languageUnavailable, .timeout,
            .workerCrashed, .workerKilled, .workerProtocol, .cpuLimit, .engineError, .interrupted:
            Failure(.sourceUnreadable, "on \(name): \(failure.text)")
        }
    }

    // MARK: The same path here

    /// The file at the same path, if it is the one of the origin. A directory that was not proven to be shared yet is
    /// compared by asking the origin.
    func openShared(
        _ key: JobKey, _ specification: JobSpecification, origin: NodeID, cancellation: SourceCancellation
    ) -> OpenFile? {
        let source = specification.source
        guard let fingerprint = specification.fingerprint,
            case .success(let file) = FileSource.openFile(source, maximumBytes: maximumBytes),
            file.facts.fingerprint == fingerprint
        else { return nil }
        let directory = SharedDirectories.Directory(of: source, facts: file.facts, other: origin)
        switch directories.standing(directory) {
        case .shared: return file
        case .notShared: return nil
        case .unproven: break
        }
        let sink = DescriptionSink()
        let request = SourceRequest(key: key, specification, isDigestOnly: true)
        _ = peers.readSource(request, from: origin, cancellation: cancellation, into: sink)
        guard let description = sink.description, let theirs = description.digest,
            case .success(let ours) = Result(catching: { () throws(Failure) in try digests.digest(file, of: source) })
        else { return nil }
        let isEqual =
            theirs == ours && description.byteCount == file.facts.byteCount
            && description.modifiedNanoseconds == file.facts.modifiedNanoseconds
        directories.note(directory, isEqual: isEqual)
        return isEqual ? file : nil
    }

    /// The file at the same path where its directory is proven to be shared with the origin; asks nobody.
    func openProven(_ specification: JobSpecification, origin: NodeID) -> OpenFile? {
        guard case .success(let file) = FileSource.openFile(specification.source, maximumBytes: maximumBytes),
            file.facts.fingerprint == specification.fingerprint
        else { return nil }
        let directory = SharedDirectories.Directory(of: specification.source, facts: file.facts, other: origin)
        return directories.standing(directory) == .shared ? file : nil
    }

    // MARK: From another node

    private enum Fetched {
        case file(ResolvedSource)
        case failed(Failure)
        case notHere(String)
        case unreachable(String)
        case cancelled
    }

    private func fetch(
        _ request: SourceRequest, from other: NodeID, cancellation: SourceCancellation, grant: (Int) -> MemoryGrant?
    ) -> Fetched {
        // What was submitted is only what the size was then; the other node says what it is.
        var expected = Int(clamping: request.fingerprint?.byteCount ?? 0)
        if !(0...maximumBytes).contains(expected) { expected = 0 }
        for _ in 0..<Self.sizeAttemptCount {
            guard let memory = grant(expected) else { return .cancelled }
            let sink: MemorySink
            do throws(Failure) {
                sink = try MemorySink(granted: expected, maximumBytes: maximumBytes)
            } catch {
                return .failed(error)
            }
            let end = peers.readSource(request, from: other, cancellation: cancellation, into: sink)
            if cancellation.isCancelled { return .cancelled }
            switch (end, sink.finish(isComplete: end == .complete)) {
            case (_, .larger(let byteCount)): expected = byteCount
            case (_, .failed(let failure)): return .failed(failure)
            case (.complete, .file(let file)):
                return .file(ResolvedSource(file, way: .fetched(from: other), grant: memory))
            case (.complete, .partial(let why)): return .unreachable(why)
            case (.failed(let failure), _): return .failed(failure)
            case (.notHere(let why), _): return .notHere(why)
            case (.unreachable(let why), _): return .unreachable(why)
            case (.stopped, _): return .unreachable("the transfer ended early")
            case (.cancelled, _): return .cancelled
            }
        }
        return .failed(Failure(.sourceChanged, "\(request.source.text) grew while it was read"))
    }
}

extension SourceResolver {
    /// Memory that is asked for first where the size of an object is not known.
    private static let guessedByteCount = 4 << 20

    /// From a store or a web server: one request where the size was known and right.
    private func fetchRemote(
        _ specification: JobSpecification, cancellation: SourceCancellation, grant: (Int) -> MemoryGrant?
    ) -> Result<ResolvedSource, Failure> {
        let source = specification.source
        var expected = min(maximumBytes, Self.guessedByteCount)
        if let byteCount = specification.fingerprint?.byteCount {
            guard byteCount > 0 else { return .failure(Failure(.emptyFile, "\(source.text) is empty")) }
            guard byteCount <= Int64(maximumBytes) else {
                return .failure(FileSource.tooLarge(byteCount, limit: maximumBytes))
            }
            expected = Int(byteCount)
        }
        for _ in 0..<Self.sizeAttemptCount {
            guard let memory = grant(expected) else { return .failure(Self.cancelled) }
            let sink: MemorySink
            do throws(Failure) {
                sink = try MemorySink(granted: expected, maximumBytes: maximumBytes)
            } catch {
                return .failure(error)
            }
            let end = remotes.readRemote(
                source, fingerprint: specification.fingerprint, cancellation: cancellation, into: sink)
            if cancellation.isCancelled { return .failure(Self.cancelled) }
            var isComplete = false
            if case .success = end { isComplete = true }
            switch (sink.finish(isComplete: isComplete), end) {
            case (.larger(let byteCount), _): expected = byteCount
            case (.failed(let failure), _), (_, .failure(let failure)): return .failure(failure)
            case (.file(let file), .success):
                return .success(ResolvedSource(file, way: .remote, grant: memory))
            case (.partial(let why), .success):
                return .failure(Failure(.sourceUnreadable, "\(source.text): \(why)"))
            }
        }
        return .failure(Failure(.sourceUnreadable, "\(source.text) has another size each time that it is read"))
    }
}

/// Takes a description only.
private final class DescriptionSink: SourceSink {
    private let taken = Mutex<SourceDescription?>(nil)

    var description: SourceDescription? { taken.withLock { $0 } }

    func begin(_ description: SourceDescription) -> Bool {
        taken.withLock { $0 = description }
        return true
    }

    func take(_: UnsafeRawBufferPointer) -> Bool { false }
}

/// Takes a file into memory, and no byte more than was granted.
private final class MemorySink: SourceSink {
    enum Verdict {
        case file(OpenFile)
        /// The file has so many bytes, more than were granted.
        case larger(Int)
        case partial(String)
        case failed(Failure)
    }

    private struct State: ~Copyable {
        var file: MemoryFile?
        var announced: Int64?
        var verdict: Verdict?
    }

    private let state: Mutex<State>
    private let granted: Int
    private let maximumBytes: Int

    init(granted: Int, maximumBytes: Int) throws(Failure) {
        self.granted = granted
        self.maximumBytes = maximumBytes
        state = Mutex(State(file: try MemoryFile()))
    }

    func begin(_ description: SourceDescription) -> Bool {
        state.withLock { state in
            guard state.announced == nil else { return false }
            state.announced = description.byteCount
            switch description.byteCount {
            case ..<0: return true
            case 0: state.verdict = .failed(Failure(.emptyFile, "the file is empty"))
            case ...Int64(granted): return true
            case ...Int64(maximumBytes): state.verdict = .larger(Int(description.byteCount))
            default: state.verdict = .failed(FileSource.tooLarge(description.byteCount, limit: maximumBytes))
            }
            return false
        }
    }

    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLock { state in
            guard state.verdict == nil, let announced = state.announced, let sofar = state.file?.byteCount else {
                return false
            }
            if announced < 0, Int64(bytes.count) > Int64(granted) - sofar {
                state.verdict =
                    granted < maximumBytes
                    ? .larger(min(maximumBytes, 8 * granted))
                    : .failed(FileSource.tooLarge(sofar + Int64(bytes.count), limit: maximumBytes))
                return false
            }
            guard announced < 0 || Int64(bytes.count) <= announced - sofar else { return false }
            do throws(Failure) {
                try state.file?.append(bytes)
                return true
            } catch {
                state.verdict = .failed(error)
                return false
            }
        }
    }

    /// What it came to. Once.
    func finish(isComplete: Bool) -> Verdict {
        state.withLock { state in
            if let verdict = state.verdict { return verdict }
            guard let file = state.file.take() else { return .partial("the transfer was taken twice") }
            let byteCount = file.byteCount
            if isComplete, byteCount == 0, state.announced ?? 0 < 0 {
                return .failed(Failure(.emptyFile, "the file is empty"))
            }
            guard isComplete, let announced = state.announced, announced < 0 || byteCount == announced else {
                return .partial("the transfer ended after \(byteCount) of \(state.announced ?? 0) bytes")
            }
            do throws(Failure) {
                return .file(try file.sealed())
            } catch {
                return .failed(error)
            }
        }
    }
}
