// What is derived from the cluster key.

import ClusterModel
import Foundation
import SwiftASN1
import Testing
import Wire
import X509

@testable import Transport

@Suite struct ClusterCertificatesTests {
    private let key = ClusterKey.random()

    @Test func `two nodes derive the same authority and sign it differently`() throws {
        let left = try ClusterCertificates.authority(of: key)
        let right = try ClusterCertificates.authority(of: key)
        #expect(left.publicKey == right.publicKey && left.subject == right.subject)
        #expect(left.signature != right.signature)
        #expect(left.publicKey.isValidSignature(right.signature, for: right))
        let leaf = try ClusterCertificates.leaf(for: node(5), key: key).certificate
        #expect(left.publicKey.isValidSignature(leaf.signature, for: leaf))
        #expect(right.publicKey.isValidSignature(leaf.signature, for: leaf))
        #expect(leaf.issuer == right.subject)
    }

    @Test func `the authority's key is a fixed function of the cluster key`() throws {
        // Part of the protocol: a version that derives another one is another cluster.
        let fixed = try #require(ClusterKey(text: String(repeating: "0f", count: 32)))
        let authority = try ClusterCertificates.authority(of: fixed)
        #expect(
            Array(authority.publicKey.subjectPublicKeyInfoBytes.suffix(8)) == [199, 44, 205, 148, 245, 254, 157, 162])
        #expect(String(describing: authority.subject) == "CN=ocr-cluster authority \(fixed.digest)")
    }

    @Test func `a leaf names one node, for server and client, whatever the clock says`() throws {
        let leaf = try ClusterCertificates.leaf(for: node(5), key: key).certificate
        #expect(ClusterCertificates.node(in: leaf) == node(5))
        #expect(ClusterCertificates.keyDigest(in: leaf) == key.digest)
        let names = try #require(try leaf.extensions.subjectAlternativeNames)
        #expect(Array(names) == [.dnsName("\(node(5)).node.ocr-cluster")])
        let usage = try #require(try leaf.extensions.extendedKeyUsage)
        #expect(usage.contains(.serverAuth) && usage.contains(.clientAuth))
        #expect(leaf.notValidBefore.timeIntervalSince1970 == 0)
        #expect(leaf.notValidAfter.timeIntervalSince1970 > 32_000_000_000)
    }

    @Test func `an authority's certificate names no node`() throws {
        #expect(ClusterCertificates.node(in: try ClusterCertificates.authority(of: key)) == nil)
    }
}
