// A node's side of mutual TLS for one state of its keyring.
//
// A TLS context is immutable. A change of the ring makes a new identity; connections that are there keep theirs, new
// ones take the new one: that is how keys are exchanged without an interruption (DESIGN §9).
//
// BoringSSL verifies chains: the trust roots are the authorities of all keys of the ring. Names are not left to it: it
// would take any alternative name that matches, and say nothing about which node it met instead. `PeerCertificate`
// reads the one name after the chain was verified.

internal import ClusterModel
internal import Crypto
internal import NIOCore
internal import NIOSSL
internal import SwiftASN1
internal import Wire
internal import X509

/// TLS contexts that present a leaf of the ring's primary key and trust all of its keys.
struct TLSIdentity: Sendable {
    let server: NIOSSLContext
    let client: NIOSSLContext
    /// Of the keys that are trusted, the primary one first.
    let keyDigests: [String]

    private static let applicationProtocols = ["grpc-exp", "h2"]

    init(node: NodeID, keyring: Keyring) throws(TransportFailure) {
        keyDigests = keyring.keys.map(\.digest)
        do {
            let leaf = try ClusterCertificates.leaf(for: node, key: keyring.primary)
            let roots = try keyring.keys.map { try Self.nioCertificate(ClusterCertificates.authority(of: $0)) }
            let chain = [NIOSSLCertificateSource.certificate(try Self.nioCertificate(leaf.certificate))]
            let privateKey = NIOSSLPrivateKeySource.privateKey(
                try NIOSSLPrivateKey(bytes: Array(leaf.privateKey.pemRepresentation.utf8), format: .pem))
            var serving = TLSConfiguration.makeServerConfigurationWithMTLS(
                certificateChain: chain, privateKey: privateKey, trustRoots: .certificates(roots))
            var calling = TLSConfiguration.makeClientConfiguration()
            calling.certificateChain = chain
            calling.privateKey = privateKey
            calling.trustRoots = .certificates(roots)
            calling.certificateVerification = .noHostnameVerification
            Self.restrict(&serving)
            Self.restrict(&calling)
            server = try NIOSSLContext(configuration: serving)
            client = try NIOSSLContext(configuration: calling)
        } catch {
            throw TransportFailure(
                .security, "no certificate could be made from the cluster key: \(error)",
                hint: "this is a defect of the program or of its TLS library; please report it")
        }
    }

    private static func restrict(_ configuration: inout TLSConfiguration) {
        configuration.minimumTLSVersion = .tlsv13
        configuration.applicationProtocols = applicationProtocols
    }

    private static func nioCertificate(_ certificate: Certificate) throws -> NIOSSLCertificate {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return try NIOSSLCertificate(bytes: serializer.serializedBytes, format: .der)
    }
}

/// Who is at the other end of a verified connection.
struct PeerCertificate: Hashable, Sendable {
    let node: NodeID
    /// Of the cluster key that the peer has shown to know.
    let keyDigest: String

    /// Reads what a handshake has verified. Returns nil for a certificate that names no node.
    init?(verified certificate: NIOSSLCertificate?) {
        guard let bytes = try? certificate?.toDERBytes(), let parsed = try? Certificate(derEncoded: bytes),
            let node = ClusterCertificates.node(in: parsed), let digest = ClusterCertificates.keyDigest(in: parsed)
        else { return nil }
        self.node = node
        keyDigest = digest
    }
}
