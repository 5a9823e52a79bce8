import ClusterModel
import Crypto
import WireDecoders
import Testing
import Wire

@Suite struct ClusterKeyTests {
    @Test func `the text of a key is read back, and nothing else is`() {
        let key = ClusterKey.random()
        #expect(ClusterKey(text: key.text) == key)
        #expect(ClusterKey(text: " \n\(key.text.uppercased())\r\n") == key)
        for bad in [
            "", String(key.text.dropLast()), key.text + "0", String(key.text.dropLast()) + "g",
            String(key.text.dropLast()) + "é", String(key.text.dropLast(2)) + "0 ", "0x" + key.text.dropFirst(2),
        ] {
            #expect(ClusterKey(text: bad) == nil, "\(bad)")
        }
        #expect(ClusterKey(bytes: Array(repeating: 0, count: 31)) == nil)
    }

    @Test func `a key that is printed shows its digest only`() {
        let key = ClusterKey.sample(7)
        // head -c 32 /dev/zero | tr '\0' '\7' | sha256sum
        #expect(key.digest == "4bb06f8e4e3a7715")
        #expect("\(key)" == "key \(key.digest)")
        #expect(!"\(Keyring(key).keys)".contains(key.text.prefix(8)))
    }

    @Test func `what is derived depends on key, purpose and context`() {
        let derived = [
            ClusterKey.sample(1).derived("a", byteCount: 32), ClusterKey.sample(2).derived("a", byteCount: 32),
            ClusterKey.sample(1).derived("b", byteCount: 32),
            ClusterKey.sample(1).derived("a", context: [0], byteCount: 32),
            ClusterKey.sample(1).derived("a\0", byteCount: 31),
        ]
        #expect(Set(derived.map { key in key.withUnsafeBytes { Array($0) } }).count == derived.count)
        #expect(ClusterKey.sample(1).derived("a", byteCount: 32) == derived[0])
    }

    @Test func `a keyring takes up to eight keys, each once`() throws {
        var ring = Keyring(.sample(0))
        for number in 1..<8 { try ring.add(.sample(UInt8(number))) }
        try ring.add(.sample(3))
        #expect(ring.keys.count == Keyring.keyCount)
        let full = ring
        #expect(throws: KeyringError.full) { try ring.add(.sample(8)) }
        #expect(ring == full)
        #expect(ring.primary == .sample(0))
    }

    @Test func `the key in use comes first and cannot be removed`() throws {
        let old = ClusterKey.sample(1)
        let new = ClusterKey.sample(2)
        var ring = Keyring(old)
        try ring.add(new)
        #expect(ring.primary == old)
        try ring.use(String(new.digest.prefix(6)).uppercased())
        #expect(ring.keys == [new, old])
        #expect(throws: KeyringError.inUse(new.digest)) { try ring.remove(new.digest) }
        try ring.remove(old.digest)
        #expect(ring.keys == [new])
    }

    @Test func `a digest that names no key or several is refused`() throws {
        var ring = Keyring(.sample(1))
        #expect(throws: KeyringError.unknown("")) { try ring.use("") }
        #expect(throws: KeyringError.unknown("zz")) { try ring.remove("zz") }
        // Two of these begin alike: there are more keys than first digits.
        var taken: [Character: ClusterKey] = [:]
        for number in UInt8(1)...UInt8(17) {
            let key = ClusterKey.sample(number)
            guard let first = key.digest.first, let other = taken[first] else {
                taken[key.digest.first ?? "-"] = key
                continue
            }
            var pair = Keyring(key)
            try pair.add(other)
            #expect(throws: KeyringError.ambiguous(String(first))) { try pair.use(String(first)) }
            return
        }
        Issue.record("no two digests began alike")
    }

    @Test func `a keyring's text is read back in order, and nothing else is`() throws {
        var ring = Keyring(.sample(1))
        try ring.add(.sample(2))
        try ring.use(ClusterKey.sample(2).digest)
        #expect(Keyring(text: ring.text) == ring)
        #expect(Keyring(text: "\r\n" + ring.text + "  \n") == ring)
        let line = ClusterKey.sample(1).text + "\n"
        #expect(Keyring(text: "") == nil)
        #expect(Keyring(text: line + line) == nil)
        #expect(Keyring(text: line + "x\n") == nil)
        #expect(Keyring(text: (0..<9).map { ClusterKey.sample($0).text + "\n" }.joined()) == nil)
    }
}
