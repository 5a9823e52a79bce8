// How a file of many pages becomes several jobs. The job that was submitted covers `PageRange.all`; whoever opens the file
// counts its pages, recognises the first part itself and has the others admitted as jobs of their own.
//
// Invariant: the parts depend on nothing but the number of pages, and a part keeps its range when the number changes only
// a little, so that counting the same file again makes the same jobs.

/// The parts of a file of many pages.
package enum PageSplit {
    /// Whether a file of so many pages is split.
    package static func isSplit(pageCount: Int) -> Bool { pageCount > Limits.unsplitPageCount }

    /// Pages of each part but the last, which may have fewer: `Limits.partPageCount`, or more where there would be more
    /// parts than one submission takes.
    static func partPageCount(pageCount: Int) -> Int {
        let most = Limits.submissionChunkCount
        return max(Limits.partPageCount, (pageCount + most - 1) / most)
    }

    /// Values that `partPageCount` can have for a file of at most so many pages.
    package static func partPageCounts(maximumPages: Int) -> ClosedRange<Int> {
        Limits.partPageCount...partPageCount(pageCount: maximumPages)
    }

    /// All ranges that a further job can have in parts of that many pages, in order.
    package static func possibleParts(of partPageCount: Int) -> [PageRange] {
        (1..<Limits.submissionChunkCount).map {
            .pages(first: 1 + $0 * partPageCount, last: ($0 + 1) * partPageCount)
        }
    }

    /// The ranges of further jobs that a file of another length may have had, beyond those that one of so many pages has, in
    /// order. Those of files with so many more pages that their parts are larger are not among them.
    package static func partsBeyond(pageCount: Int) -> ArraySlice<PageRange> {
        possibleParts(of: partPageCount(pageCount: pageCount)).dropFirst(furtherParts(pageCount: pageCount).count)
    }

    /// The pages of the job that was submitted: the first part of a split file, all pages of another.
    package static func firstPart(pageCount: Int) -> PageRange {
        isSplit(pageCount: pageCount) ? .pages(first: 1, last: partPageCount(pageCount: pageCount)) : .all
    }

    /// The ranges of the further jobs, in order; none for a file that is not split. The last one may name pages beyond the
    /// end.
    package static func furtherParts(pageCount: Int) -> [PageRange] {
        guard isSplit(pageCount: pageCount) else { return [] }
        let size = partPageCount(pageCount: pageCount)
        return stride(from: 1 + size, through: pageCount, by: size).map { .pages(first: $0, last: $0 + size - 1) }
    }
}
