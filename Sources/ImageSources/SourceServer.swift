// Gives other nodes the bytes of the sources of jobs, and nothing else.
//
// Who asks is a member of the cluster (mutual TLS); what is asked for must be the source of a job that this node knows:
// one that was submitted here, one whose copy is in the spool, or one whose record is here and whose path is proven to be
// shared with its origin. A path alone opens nothing.

package import ClusterModel
import Glibc
import Synchronization

/// A file that is being sent.
package final class ServedSource: Sendable {
    package let description: SourceDescription
    private let source: SourceReference
    private let file: OpenFile
    private let offset = Mutex<Int64>(0)

    init(_ file: OpenFile, of source: SourceReference, digest: SourceDigest? = nil) {
        self.file = file
        self.source = source
        description = SourceDescription(
            byteCount: file.facts.byteCount, modifiedNanoseconds: file.facts.modifiedNanoseconds, digest: digest)
    }

    /// The next bytes, at most `limit`, blocking; nil after the last. Fails when the file is not any more what it was
    /// when it was opened.
    package func next(limit: Int = Limits.sourceChunkByteCount) -> Result<[UInt8]?, Failure> {
        offset.withLock { offset in
            let left = description.byteCount - offset
            guard left > 0 else { return file.isUnchanged ? .success(nil) : .failure(changed) }
            var failure: Failure?
            let chunk = [UInt8](unsafeUninitializedCapacity: Int(min(left, Int64(limit)))) { buffer, filled in
                switch file.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset) {
                case nil:
                    failure = Failure(.sourceUnreadable, "\(source.text): \(String(cString: strerror(errno)))")
                case 0?: failure = changed
                case let count?: filled = count
                }
            }
            if let failure { return .failure(failure) }
            offset += Int64(chunk.count)
            return .success(chunk)
        }
    }

    private var changed: Failure { Failure(.sourceChanged, "\(source.text) changed while it was read") }
}

package struct SourceServer: Sendable {
    /// What the ledger says about jobs. Called on the caller's thread, may block.
    package struct Jobs: Sendable {
        /// Whether the job was submitted through this node.
        package var isOrigin: @Sendable (JobKey) throws -> Bool
        /// The job's specification, where its record is here.
        package var specification: @Sendable (JobKey) throws -> JobSpecification?

        package init(
            isOrigin: @escaping @Sendable (JobKey) throws -> Bool,
            specification: @escaping @Sendable (JobKey) throws -> JobSpecification?
        ) {
            self.isOrigin = isOrigin
            self.specification = specification
        }
    }

    /// Why nothing is sent.
    package enum Refusal: Error, Hashable, Sendable {
        /// No such job is known here, or no copy of its file is.
        case notHere(String)
        /// The file is this node's to give, and cannot be read.
        case failed(Failure)
    }

    private let resolver: SourceResolver
    private let jobs: Jobs

    package init(_ resolver: SourceResolver, jobs: Jobs) {
        self.resolver = resolver
        self.jobs = jobs
    }

    /// Opens what a request asks for, blocking; for a digest, the whole file is read.
    ///
    /// - Parameter request: its key must have been computed from its other fields by the caller, never taken from the
    ///   other node.
    package func open(_ request: SourceRequest) -> Result<ServedSource, Refusal> {
        guard request.source.isPath else { return .failure(.notHere("the source is not a path")) }
        let isOrigin: Bool
        let specification: JobSpecification?
        do {
            isOrigin = try jobs.isOrigin(request.key)
            specification = try jobs.specification(request.key)
        } catch {
            return .failure(.notHere("its ledger cannot be read: \(error)"))
        }
        if isOrigin {
            return FileSource.openFile(request.source, maximumBytes: resolver.maximumBytes)
                .mapError { .failed($0) }
                .flatMap { serve($0, request) }
        }
        if let copy = resolver.spool?.open(request.key, request.fingerprint) { return serve(copy, request) }
        if let specification, let origin = specification.origin, specification.source == request.source,
            let file = resolver.openProven(specification, origin: origin)
        {
            return serve(file, request)
        }
        return .failure(
            .notHere(specification == nil ? "it knows no such job" : "it has no copy of the file"))
    }

    private func serve(_ file: OpenFile, _ request: SourceRequest) -> Result<ServedSource, Refusal> {
        guard request.isDigestOnly else { return .success(ServedSource(file, of: request.source)) }
        do throws(Failure) {
            let digest = try resolver.digests.digest(file, of: request.source)
            return .success(ServedSource(file, of: request.source, digest: digest))
        } catch {
            return .failure(.failed(error))
        }
    }
}
