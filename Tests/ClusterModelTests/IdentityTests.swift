import ClusterModel
import Testing

@Suite("Identities")
struct IdentityTests {
    @Test("a source's text turns back into the same bytes, whatever the bytes are")
    func sourceText() {
        var random = SeededGenerator(seed: 4)
        let alphabet: [UInt8] = [0, 0x20, 0x25, 0x2F, 0x41, 0x0A, 0x7F, 0x80, 0xC3, 0xA9, 0xFF, 0x3A, 0x32]
        for _ in 0..<20_000 {
            let count = Int.random(in: 0..<12, using: &random)
            let tail = (0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] }
            let source = SourceReference(bytes: [UInt8(ascii: "/")] + tail)
            #expect(SourceReference(text: source.text) == source, "\(source.bytes)")
            #expect(source.isPath)
        }
    }

    @Test(
        "a URL and a plain path are their own text",
        arguments: ["https://host/a%20b.png", "s3://bucket/ключ", "/tmp/file:///x", "/50%25.png", "/a\nb"])
    func plainText(text: String) {
        #expect(SourceReference(text: text).bytes == Array(text.utf8))
        #expect(SourceReference(text: text).text == text)
    }

    @Test("of URLs, those of schemes that every node reads by itself are remote")
    func remote() {
        #expect(SourceReference(text: "s3://bucket/key").remoteScheme == .s3)
        #expect(SourceReference(text: "http://host/a").remoteScheme == .http)
        #expect(SourceReference(text: "https://host/a").remoteScheme == .https)
        for text in ["/s3://a/b", "s3://", "S3://a/b", "ftp://a/b", "file:///a", ""] {
            #expect(SourceReference(text: text).remoteScheme == nil, "\(text)")
        }
    }

    @Test("tags tell whether a file has changed where there are some, else size and time")
    func fingerprints() {
        func file(_ size: Int64, _ time: Int64, _ tag: String? = nil) -> SourceFingerprint {
            SourceFingerprint(byteCount: size, modifiedNanoseconds: time, tag: tag.map { Array($0.utf8) })
        }
        #expect(!file(1, 2).isOther(than: file(1, 2)) && file(1, 3).isOther(than: file(1, 2)))
        #expect(!file(1, 3, "x").isOther(than: file(1, 2, "x")), "the same bytes, uploaded again")
        #expect(file(1, 2, "y").isOther(than: file(1, 2, "x")) && file(3, 2, "x").isOther(than: file(1, 2, "x")))
        #expect(file(1, 2, "x").isOther(than: file(1, 2)))
        let ordered = [file(1, 1), file(1, 1, "a"), file(1, 1, "b"), file(1, 2), file(2, 0, "a")]
        #expect(ordered.reversed().sorted() == ordered)
        #expect(file(1, 1, "").tag == nil)
        #expect(file(1, 1, String(repeating: "x", count: Limits.sourceTagByteCount)).tag?.count == 256)
        #expect(file(1, 1, String(repeating: "x", count: Limits.sourceTagByteCount + 1)).tag == nil)
    }

    @Test("a file URL is a path; a broken escape stays as it is")
    func fileURL() {
        #expect(SourceReference(text: "file:///a%20b%FF").bytes == Array("/a b".utf8) + [0xFF])
        #expect(SourceReference(text: "file:///a%2").bytes == Array("/a%2".utf8))
        #expect(SourceReference(text: "file:///a%zz").bytes == Array("/a%zz".utf8))
        #expect(SourceReference(text: "file:///a%+1").bytes == Array("/a%+1".utf8))
    }

    @Test("128 bits survive hexadecimal digits and bytes, and are ordered as their bytes")
    func bits() {
        var random = SeededGenerator(seed: 5)
        var earlier = Bits128(high: 0, low: 0)
        for _ in 0..<20_000 {
            let bits = Bits128(high: random.next() >> UInt64.random(in: 0..<64, using: &random), low: random.next())
            #expect(Bits128(hex: bits.hex) == bits && Bits128(hex: bits.hex.uppercased()) == bits)
            #expect(Bits128(bytes: bits.bytes) == bits)
            #expect((earlier < bits) == earlier.bytes.lexicographicallyPrecedes(bits.bytes))
            #expect((earlier < bits) == (earlier.hex < bits.hex))
            earlier = bits
        }
        #expect(Bits128(hex: String(repeating: "0", count: 31)) == nil)
        #expect(Bits128(hex: String(repeating: "g", count: 32)) == nil)
        #expect(Bits128(bytes: [UInt8](repeating: 0, count: 17)) == nil)
    }

    @Test("shards are equal ranges of the key space in its order", arguments: [0, 1, 4, 10, 16])
    func shards(exponent: Int) {
        let layout = ShardLayout(exponent: exponent)
        #expect(layout.shard(of: JobKey(Bits128(high: 0, low: 0))) == ShardIndex(0))
        #expect(layout.shard(of: JobKey(Bits128(high: .max, low: .max))) == ShardIndex(layout.count - 1))
        for shard in 1..<max(2, layout.count) where exponent > 0 {
            let first = UInt64(shard) << UInt64(64 - exponent)
            #expect(layout.shard(of: JobKey(Bits128(high: first, low: 0))) == ShardIndex(shard))
            #expect(layout.shard(of: JobKey(Bits128(high: first - 1, low: .max))) == ShardIndex(shard - 1))
        }
    }
}
