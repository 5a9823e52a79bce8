// The secret that admits a node to a cluster, and the ring of keys that makes it exchangeable while the cluster runs
// (DESIGN §9).

internal import ClusterModel
package import Crypto
internal import Foundation

/// 32 random bytes. Who has them is a member; everything else is derived from them.
package struct ClusterKey: Hashable, Sendable, CustomStringConvertible {
    package static let byteCount = 32

    /// Exactly 32 bytes.
    package let bytes: [UInt8]

    /// Returns nil for any other count than 32.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Reads the text of a key file: 64 hexadecimal digits; space around them is passed over. Returns nil for anything
    /// else.
    package init?(text: String) {
        let digits = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard digits.utf8.count == 2 * Self.byteCount, let high = Bits128(hex: digits.prefix(32)),
            let low = Bits128(hex: digits.suffix(32))
        else { return nil }
        bytes = high.bytes + low.bytes
    }

    package static func random() -> ClusterKey {
        var generator = SystemRandomNumberGenerator()
        guard let key = ClusterKey(bytes: (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) })
        else { preconditionFailure("a key has 32 bytes") }
        return key
    }

    /// The text of a key file, without a newline.
    package var text: String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }

    /// The first 16 hexadecimal digits of the key's SHA-256: names it without telling it.
    package var digest: String {
        let hash = Array(SHA256.hash(data: bytes))
        return String((Bits128(bytes: hash.prefix(16))?.hex ?? "").prefix(16))
    }

    /// Never the secret: a key that is logged by accident shows its digest.
    package var description: String { "key \(digest)" }

    /// Key material for one purpose (HKDF with SHA-256, RFC 5869).
    ///
    /// - Parameters:
    ///   - purpose: tells the uses apart; part of the protocol.
    ///   - context: what else the result depends on.
    package func derived(_ purpose: String, context: [UInt8] = [], byteCount: Int) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: bytes), salt: Array("ocr-cluster v1".utf8),
            info: Array(purpose.utf8) + [0] + context, outputByteCount: byteCount)
    }
}

/// Why a change of the keyring was refused; nothing was changed.
package enum KeyringError: Error, Hashable, Sendable, CustomStringConvertible {
    case full
    case unknown(String)
    case ambiguous(String)
    case inUse(String)

    package var description: String {
        switch self {
        case .full: "the keyring holds \(Keyring.keyCount) keys already; remove one that is not used"
        case .unknown(let digest): "no key \(digest) is in the keyring"
        case .ambiguous(let digest): "more than one key begins with \(digest)"
        case .inUse(let digest): "key \(digest) is in use; use another one first"
        }
    }
}

/// The keys that a node accepts. It sends with the first.
///
/// A rotation: `add` the new key everywhere, `use` it everywhere, `remove` the old one everywhere. At each moment
/// every two nodes have a common key, so that nothing is interrupted.
package struct Keyring: Hashable, Sendable {
    /// Keys in one ring.
    package static let keyCount = 8

    /// 1...`keyCount` different keys; the first is the one that is used to send.
    package private(set) var keys: [ClusterKey]

    package init(_ key: ClusterKey) { keys = [key] }

    package var primary: ClusterKey { keys[0] }

    /// Accepts a key from now on. Adding one that is there changes nothing.
    package mutating func add(_ key: ClusterKey) throws(KeyringError) {
        if keys.contains(key) { return }
        guard keys.count < Self.keyCount else { throw .full }
        keys.append(key)
    }

    /// Sends with the key of that digest, or of the unique one that begins so.
    package mutating func use(_ digest: String) throws(KeyringError) {
        let position = try position(of: digest)
        keys.insert(keys.remove(at: position), at: 0)
    }

    /// Accepts the key no longer.
    package mutating func remove(_ digest: String) throws(KeyringError) {
        let position = try position(of: digest)
        if position == 0 { throw .inUse(keys[0].digest) }
        keys.remove(at: position)
    }

    private func position(of digest: String) throws(KeyringError) -> Int {
        let found = keys.indices.filter { !digest.isEmpty && keys[$0].digest.hasPrefix(digest.lowercased()) }
        guard let first = found.first else { throw .unknown(digest) }
        guard found.count == 1 else { throw .ambiguous(digest) }
        return first
    }

    // MARK: On disk

    /// One key a line, the one in use first.
    package var text: String { keys.map { $0.text + "\n" }.joined() }

    /// Reads what `text` wrote. Returns nil for anything else.
    package init?(text: String) {
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.allSatisfy(\.isWhitespace) }
        let keys = lines.compactMap { ClusterKey(text: String($0)) }
        guard keys.count == lines.count, (1...Self.keyCount).contains(keys.count), Set(keys).count == keys.count else {
            return nil
        }
        self.keys = keys
    }
}
