// The keys that this node accepts and sends with, in memory and on disk, and everybody who must hear of a change.

internal import ClusterModel
import Synchronization
internal import Wire

/// The one place where the keyring changes: first on disk, then in use.
actor KeyringStore {
    private var ring: Keyring
    private let directory: String
    private let disk = BlockingQueue("keyring")
    private let apply: @Sendable (Keyring) async -> Void

    /// - Parameter apply: puts a ring into use: gossip, server, clients.
    init(_ ring: Keyring, directory: String, apply: @escaping @Sendable (Keyring) async -> Void) {
        self.ring = ring
        self.directory = directory
        self.apply = apply
    }

    var digests: [String] { ring.keys.map(\.digest) }

    /// Does what is asked, by the operator or by a peer that passes an operator's wish on.
    func answer(_ request: Ocr_V1_KeyringRequest) async -> Ocr_V1_KeyringResponse {
        var response = Ocr_V1_KeyringResponse()
        do {
            try await change(request.kind)
        } catch {
            response.refusal = "\(error)"
        }
        response.keys = digests
        return response
    }

    private func change(_ kind: Ocr_V1_KeyringRequest.OneOf_Kind?) async throws {
        var changed = ring
        switch kind {
        case .list, nil: return
        case .add(let bytes):
            guard let key = ClusterKey(bytes: Array(bytes)) else {
                throw NodeFailure("a key has \(ClusterKey.byteCount) bytes, not \(bytes.count)")
            }
            try changed.add(key)
        case .use(let digest): try changed.use(digest)
        case .remove(let digest): try changed.remove(digest)
        }
        if changed == ring { return }
        let directory = directory
        let stored = changed
        try await disk.run { try ClusterFiles.write(keyring: stored, directory: directory) }
        ring = changed
        await apply(changed)
    }
}
