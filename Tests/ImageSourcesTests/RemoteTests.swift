// Images in stores and on web servers, which every node reads by itself.

import CMemoryFile
import ClusterModel
import Testing

@testable import ImageSources

@Suite struct RemoteTests {
    private let store = FakeStore()
    private let network = FakeNetwork()

    private func job(
        _ bytes: Int, said: Int64? = nil, isListed: Bool = true, source: String = "s3://bucket/a.png"
    ) -> JobSpecification {
        store.change { $0.objects[SourceReference(path: source)] = .success(pattern(bytes)) }
        let fingerprint = SourceFingerprint(byteCount: said ?? Int64(bytes), modifiedNanoseconds: 0, tag: [1])
        return specification(source, origin: nodeID(1), fingerprint: isListed ? fingerprint : nil)
    }

    private func node(maximumBytes: Int = 64 << 20) -> FakeNode {
        FakeNode(2, in: network, maximumBytes: maximumBytes, store: store)
    }

    @Test(arguments: ["s3://bucket/a.png", "http://host/a.png", "https://host/a.png"])
    func `an object comes into sealed memory with one request, and no node is asked`(text: String) throws {
        let job = job(5_000, source: text)
        let source = try node().open(1, job).get()
        #expect(source.way == .remote && source.memoryByteCount == 5_000)
        #expect(bytes(source) == pattern(5_000))
        #expect(memory_file_is_sealed(source.descriptor) == 1)
        #expect(store.asked == [job.source] && store.fingerprints == [job.fingerprint])
        #expect(network.reads.isEmpty)
    }

    @Test func `an object of unknown size is read with one request where it is small, else with a second`() throws {
        let small = try node().open(1, job(5_000, isListed: false)).get()
        #expect(bytes(small) == pattern(5_000) && store.asked.count == 1)
        let large = try node().open(1, job(5 << 20, isListed: false)).get()
        #expect(bytes(large) == pattern(5 << 20) && store.asked.count == 3)
    }

    @Test func `an object whose size nobody says is read to its end, within the limits`() throws {
        store.change { $0.saysSize = false }
        #expect(bytes(try node().open(1, job(5_000, isListed: false)).get()) == pattern(5_000))
        #expect(bytes(try node().open(1, job(5 << 20, isListed: false)).get()) == pattern(5 << 20))
        #expect(store.asked.count == 3)
        let failure = node(maximumBytes: 4_000).open(1, job(5_000, isListed: false)).failure
        #expect(failure?.code == .tooManyBytes)
        #expect(node().open(1, job(0, isListed: false)).failure == Failure(.emptyFile, "the file is empty"))
    }

    @Test func `what is empty or too large is not asked for where the listing says so`() throws {
        #expect(node().open(1, job(0)).failure == Failure(.emptyFile, "s3://bucket/a.png is empty"))
        #expect(
            node(maximumBytes: 999).open(1, job(1_000)).failure
                == Failure(.tooManyBytes, "1000 bytes, more than 999 (limit max_bytes)"))
        #expect(store.asked.isEmpty)
    }

    @Test func `what the store says is the job's reason`() throws {
        for code in [Failure.Code.objectMissing, .objectChanged, .sourceUnreachable, .sourceUnreadable] {
            let job = job(10)
            store.change { $0.objects[job.source] = .failure(Failure(code, "s3://bucket/a.png: why")) }
            #expect(node().open(1, job).failure == Failure(code, "s3://bucket/a.png: why"))
        }
    }

    @Test func `an object that ends early is no image`() throws {
        store.change { $0.cutAfter = 700 }
        #expect(
            node().open(1, job(1_000)).failure
                == Failure(.sourceUnreadable, "s3://bucket/a.png: the transfer ended after 700 of 1000 bytes"))
    }

    @Test func `fetches are counted, and the time that slots waited for them`() throws {
        let prefetcher = SourcePrefetcher(node().resolver, budgetBytes: 1 << 20)
        _ = try prefetcher.open(assignment(1, job(5_000))).get()
        let figures = prefetcher.figures()
        #expect(figures.fetchedCount == 1 && figures.fetchedBytes == 5_000 && figures.waits == 1)
        #expect(figures.waitedNanoseconds > 0)
    }
}
