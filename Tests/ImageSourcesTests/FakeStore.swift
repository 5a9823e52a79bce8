// Object stores and web servers, in memory.

import ClusterModel
import ImageSources
import Synchronization

final class FakeStore: RemoteSources {
    struct State {
        /// Answers by source.
        var objects: [SourceReference: Result<[UInt8], Failure>] = [:]
        /// Whether the size is said before the bytes.
        var saysSize = true
        /// Another size than the true one.
        var saidByteCount: Int64?
        /// Bytes after which an answer ends as if it were whole.
        var cutAfter: Int?
        var asked: [SourceReference] = []
        var fingerprints: [SourceFingerprint?] = []
    }

    private let state = Mutex(State())

    func change(_ body: (inout sending State) -> Void) { state.withLock { body(&$0) } }
    var asked: [SourceReference] { state.withLock { $0.asked } }
    var fingerprints: [SourceFingerprint?] { state.withLock { $0.fingerprints } }

    func readRemote(
        _ source: SourceReference, fingerprint: SourceFingerprint?, cancellation: SourceCancellation,
        into sink: any SourceSink
    ) -> Result<Void, Failure> {
        let state = state.withLock { state in
            state.asked.append(source)
            state.fingerprints.append(fingerprint)
            return state
        }
        switch state.objects[source] {
        case nil: return .failure(Failure(.objectMissing, "\(source.text): there is no such object"))
        case .failure(let failure): return .failure(failure)
        case .success(let bytes):
            let said = state.saidByteCount ?? (state.saysSize ? Int64(bytes.count) : -1)
            guard sink.begin(SourceDescription(byteCount: said, modifiedNanoseconds: 0, digest: nil)) else {
                return .success(())
            }
            var rest = bytes.prefix(state.cutAfter ?? bytes.count)
            while !rest.isEmpty {
                let piece = rest.prefix(1_000)
                guard piece.withUnsafeBytes({ sink.take($0) }) else { return .success(()) }
                rest = rest.dropFirst(piece.count)
            }
            return .success(())
        }
    }
}
