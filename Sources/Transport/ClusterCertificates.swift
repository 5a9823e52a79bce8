// Certificates from the cluster key (DESIGN §9): who has the key can make the authority, and with it itself a
// certificate. Nothing is stored and nothing is fetched.
//
// Invariants
// - Two nodes with the same key have authorities with the same private key and the same name. Their certificates of
//   the authority differ in bytes, because an ECDSA signature is randomised; a chain verifies against either.
// - The name of the authority tells the key's digest, so that keys of one ring are told apart by the issuer.
// - A leaf names exactly one node, as common name and as its only DNS name. It has no IP address: NIOSSL accepts a
//   certificate if any alternative name matches, and addresses are not identity.
// - Certificates are valid from 1970 to 2999. The key admits a node, not the date: a machine whose clock has lost its
//   battery takes part like any other.

internal import ClusterModel
internal import Crypto
internal import Foundation
internal import SwiftASN1
internal import Wire
internal import X509

/// Makes the certificates of a cluster key.
enum ClusterCertificates {
    /// Ends the DNS name of every node. It exists in certificates only.
    static let nameSuffix = ".node.ocr-cluster"

    private static let authorityNamePrefix = "ocr-cluster authority "
    private static let authorityPurpose = "certificate authority"
    private static let scalarByteCount = 32
    private static let notBefore = Date(timeIntervalSince1970: 0)
    /// 2999-12-31T00:00:00Z.
    private static let notAfter = Date(timeIntervalSince1970: 32_503_593_600)

    /// A certificate with its private key.
    struct Leaf {
        let certificate: Certificate
        let privateKey: P256.Signing.PrivateKey
    }

    /// "<32 hexadecimal digits>.node.ocr-cluster".
    static func name(of node: NodeID) -> String { node.description + nameSuffix }

    /// The private key of the authority, the same wherever the cluster key is.
    static func authorityKey(_ key: ClusterKey) -> P256.Signing.PrivateKey {
        // 32 bytes are a valid scalar but for one case in 2^32; then the next ones are taken.
        for attempt in UInt8.min...UInt8.max {
            let material = key.derived(
                authorityPurpose, context: attempt == 0 ? [] : [attempt], byteCount: scalarByteCount)
            let bytes = material.withUnsafeBytes { Array($0) }
            if let authority = try? P256.Signing.PrivateKey(rawRepresentation: bytes) { return authority }
        }
        preconditionFailure("256 derivations gave no valid scalar: the generator is broken")
    }

    /// The certificate of the authority, signed by itself: a trust root.
    static func authority(of key: ClusterKey) throws -> Certificate {
        let privateKey = authorityKey(key)
        let name = try authorityName(of: key)
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PublicKey(privateKey.publicKey), notValidBefore: notBefore, notValidAfter: notAfter,
            issuer: name, subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
                SubjectKeyIdentifier(keyIdentifier: identifier(of: privateKey.publicKey))
            }, issuerPrivateKey: Certificate.PrivateKey(privateKey))
    }

    /// A certificate for a node with a key pair of its own, signed by the authority of the cluster key.
    static func leaf(for node: NodeID, key: ClusterKey) throws -> Leaf {
        let authority = authorityKey(key)
        let privateKey = P256.Signing.PrivateKey()
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PublicKey(privateKey.publicKey), notValidBefore: notBefore, notValidAfter: notAfter,
            issuer: try authorityName(of: key), subject: try DistinguishedName { CommonName(node.description) },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.dnsName(name(of: node))])
                SubjectKeyIdentifier(keyIdentifier: identifier(of: privateKey.publicKey))
                AuthorityKeyIdentifier(keyIdentifier: identifier(of: authority.publicKey))
            }, issuerPrivateKey: Certificate.PrivateKey(authority))
        return Leaf(certificate: certificate, privateKey: privateKey)
    }

    // MARK: Reading a peer's certificate

    /// The node that a certificate speaks for: its common name, which has to be its only alternative name too. The
    /// chain has to be verified before. Returns nil when it was not made by `leaf(for:key:)`.
    static func node(in certificate: Certificate) -> NodeID? {
        guard let text = commonName(certificate.subject), let bits = Bits128(hex: text), bits.hex == text,
            let names = try? certificate.extensions.subjectAlternativeNames,
            Array(names) == [.dnsName(name(of: NodeID(bits)))]
        else { return nil }
        return NodeID(bits)
    }

    /// The digest of the cluster key whose authority signed a certificate, by the issuer's name.
    static func keyDigest(in certificate: Certificate) -> String? {
        guard let text = commonName(certificate.issuer), text.hasPrefix(authorityNamePrefix) else { return nil }
        return String(text.dropFirst(authorityNamePrefix.count))
    }

    private static func commonName(_ name: DistinguishedName) -> String? {
        let attributes = name.flatMap { Array($0) }
        guard attributes.count == 1, attributes[0].type == .RDNAttributeType.commonName else { return nil }
        return String(describing: attributes[0].value)
    }

    private static func authorityName(of key: ClusterKey) throws -> DistinguishedName {
        try DistinguishedName { CommonName(authorityNamePrefix + key.digest) }
    }

    private static func identifier(of key: P256.Signing.PublicKey) -> ArraySlice<UInt8> {
        Array(Insecure.SHA1.hash(data: key.x963Representation))[...]
    }
}
