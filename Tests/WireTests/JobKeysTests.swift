import ClusterModel
import GRPCCore
import Testing
import Wire

@Suite struct JobKeysTests {
    private func key(
        _ batch: String, _ generation: UInt32, _ source: String, _ pages: PageRange = .all
    ) -> JobKey {
        JobKeys.key(
            batch: BatchID(name: batch, generation: generation), source: SourceReference(path: source), pages: pages)
    }

    @Test func `a key is the same for ever`() {
        // Ledgers hold these keys: a change of the derivation would lose every job. Made with
        // printf '\0\0\0\0\0\0\0\5job/1\0\0\0\0\0\0\0\1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\6/a.png\0\0\0\0\0\0\0\0' | sha256sum
        #expect(key("b", 0, "/a.png").description == "79d0a8ebe2ceacf1d3dbc239679f5390")
    }

    @Test func `every part of a job is in its key, and parts cannot flow into each other`() {
        let keys: [JobKey] = [
            key("b", 0, "/a"), key("b", 1, "/a"), key("b", 0, "/a", .pages(first: 1, last: 1)),
            key("b", 0, "/a", .pages(first: 1, last: 2)), key("b/", 0, "a"), key("", 0, "b/a"), key("c", 0, "/a"),
        ]
        #expect(Set(keys).count == keys.count)
    }

    @Test func `everything that decides a recognition is in the key of its content`() {
        func key(
            _ first: UInt8 = 0, _ pages: PageRange = .all, _ language: String = "eng", _ profile: String = "00",
            _ engine: String = "t", _ models: String = "eng:1"
        ) -> ContentKey {
            ContentKeys.key(
                sourceSHA256: [first] + Array(repeating: 0, count: 31), pages: pages, language: language,
                profileDigest: profile, engine: engine, models: models)
        }
        let keys = [
            key(), key(1), key(0, .pages(first: 1, last: 1)), key(0, .all, "deu"), key(0, .all, "eng", "01"),
            key(0, .all, "eng", "00", "u"), key(0, .all, "eng", "00", "t", "eng:2"),
        ]
        #expect(Set(keys).count == keys.count)
        #expect(key() == key())
    }

    @Test func `profiles and languages differ in their digest`() {
        let digests = [
            ProfileDigest.digest(of: .standard, language: "eng"), ProfileDigest.digest(of: .standard, language: "deu"),
            ProfileDigest.digest(of: Profile(dpi: 300), language: "eng"),
        ]
        #expect(Set(digests).count == 3)
        #expect(digests.allSatisfy { $0.count == 16 })
    }

    @Test func `an error of the node arrives as it was thrown`() {
        let error = AdminError.refused("language-not-installed", "no model for 'Ä'", hint: "apt install …\nor else")
        #expect(AdminError(RPCError(error)) == error)
        #expect(AdminError(RPCError(code: .unavailable, message: "gone")) == nil)
    }
}
