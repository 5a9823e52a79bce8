// Elements in ascending order, in chunks: an insertion moves what is in one chunk, however many elements there are.

/// Different elements in ascending order. Finding takes O(log n) steps; inserting and removing move one chunk besides.
struct SortedList<Element: Comparable> {
    /// None of them empty.
    private var chunks: [[Element]] = []
    private(set) var count = 0

    private static var chunkCount: Int { 256 }

    var isEmpty: Bool { chunks.isEmpty }

    /// Adds an element that is not there yet.
    mutating func insert(_ element: Element) {
        count += 1
        let place = place(of: { element < $0 })
        // What belongs before a chunk's first element may as well be the last of the chunk before it.
        let chunk = place.offset == 0 && place.chunk > 0 ? place.chunk - 1 : place.chunk
        guard chunk < chunks.count else {
            chunks.append([element])
            return
        }
        let offset = chunk == place.chunk ? place.offset : chunks[chunk].count
        guard chunks[chunk].count >= Self.chunkCount else {
            chunks[chunk].insert(element, at: offset)
            return
        }
        if offset == Self.chunkCount {
            // Elements that come in ascending order leave full chunks behind.
            chunks.insert([element], at: chunk + 1)
            return
        }
        let half = Self.chunkCount / 2
        let upper = Array(chunks[chunk][half...])
        chunks[chunk].removeSubrange(half...)
        chunks.insert(upper, at: chunk + 1)
        if offset <= half {
            chunks[chunk].insert(element, at: offset)
        } else {
            chunks[chunk + 1].insert(element, at: offset - half)
        }
    }

    /// Removes an element; nothing happens when it is not there.
    mutating func remove(_ element: Element) {
        let place = place(of: { !($0 < element) })
        guard place.chunk < chunks.count, chunks[place.chunk][place.offset] == element else { return }
        count -= 1
        if chunks[place.chunk].count == 1 {
            chunks.remove(at: place.chunk)
        } else {
            chunks[place.chunk].remove(at: place.offset)
        }
    }

    /// The elements from the first one on that satisfies a condition which all later ones satisfy too.
    func suffix(from isBeyond: (Element) -> Bool) -> Suffix {
        let place = place(of: isBeyond)
        return Suffix(chunks: chunks, chunk: place.chunk, offset: place.offset)
    }

    /// All elements.
    var elements: Suffix { Suffix(chunks: chunks, chunk: 0, offset: 0) }

    /// Where the first element lies that satisfies the condition; the chunk count as `chunk` if none does.
    private func place(of isBeyond: (Element) -> Bool) -> (chunk: Int, offset: Int) {
        let chunk = Self.firstIndex(chunks.count) { index in chunks[index].last.map(isBeyond) ?? true }
        guard chunk < chunks.count else { return (chunk, 0) }
        return (chunk, Self.firstIndex(chunks[chunk].count) { index in isBeyond(chunks[chunk][index]) })
    }

    private static func firstIndex(_ count: Int, where isBeyond: (Int) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isBeyond(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Part of a list as it was when it was asked for.
    struct Suffix: Sequence, IteratorProtocol {
        fileprivate let chunks: [[Element]]
        fileprivate var chunk: Int
        fileprivate var offset: Int

        mutating func next() -> Element? {
            guard chunk < chunks.count else { return nil }
            let element = chunks[chunk][offset]
            offset += 1
            if offset == chunks[chunk].count {
                chunk += 1
                offset = 0
            }
            return element
        }
    }
}
