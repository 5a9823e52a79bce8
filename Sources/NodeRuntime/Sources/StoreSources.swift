// Objects of stores and files of web servers, as `ImageSources` wants them: calls that block the thread that makes them.

internal import ClusterModel
import ImageSources
internal import ObjectStorage

struct StoreSources: RemoteSources {
    let stores: RemoteStores

    func readRemote(
        _ source: SourceReference, fingerprint: SourceFingerprint?, cancellation: SourceCancellation,
        into sink: any SourceSink
    ) -> Result<Void, Failure> {
        let stores = stores
        return BlockingCall.wait(cancellation) {
            do throws(StoreError) {
                let transfer = try stores.transfer(source, expected: fingerprint)
                let facts = try await transfer.open()
                let description = SourceDescription(
                    byteCount: facts.byteCount ?? -1, modifiedNanoseconds: facts.modifiedNanoseconds, digest: nil)
                guard sink.begin(description) else { return .success(()) }
                while let piece = try await transfer.next() {
                    guard piece.withUnsafeBytes({ sink.take($0) }) else { return .success(()) }
                }
                return .success(())
            } catch {
                return .failure(error.failure)
            }
        }
    }
}
