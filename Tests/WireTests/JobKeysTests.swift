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
