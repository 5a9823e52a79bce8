import ClusterModel
import Testing

@Suite struct PageSplitTests {
    @Test("every page is in one part, the first part first", arguments: [9, 10, 12, 13, 200, 2_000, 4_001, 100_000])
    func covers(pageCount: Int) {
        let parts = [PageSplit.firstPart(pageCount: pageCount)] + PageSplit.furtherParts(pageCount: pageCount)
        var next = 1
        for part in parts {
            guard case .pages(let first, let last) = part else {
                Issue.record("a part without a range")
                return
            }
            #expect(first == next && last >= first)
            next = last + 1
        }
        #expect(next > pageCount)
        #expect(parts.count <= Limits.submissionChunkCount)
        #expect(next - pageCount <= PageSplit.partPageCounts(maximumPages: pageCount).upperBound)
    }

    @Test("a file of few pages is one job", arguments: [1, 2, 8])
    func whole(pageCount: Int) {
        #expect(!PageSplit.isSplit(pageCount: pageCount))
        #expect(PageSplit.firstPart(pageCount: pageCount) == .all)
        #expect(PageSplit.furtherParts(pageCount: pageCount).isEmpty)
    }

    @Test func `a page more leaves the other parts what they are`() {
        let before = PageSplit.furtherParts(pageCount: 198)
        #expect(PageSplit.furtherParts(pageCount: 199) == before)
        #expect(PageSplit.furtherParts(pageCount: 201).starts(with: before))
    }

    @Test func `the parts of a file are among those that are looked for`() {
        for pageCount in [9, 200, 4_001, 100_000] {
            let parts = Set(PageSplit.furtherParts(pageCount: pageCount))
            let found = PageSplit.partPageCounts(maximumPages: Limits.filePageCount).first { size in
                parts.isSubset(of: PageSplit.possibleParts(of: size))
            }
            #expect(found != nil)
        }
    }
}
