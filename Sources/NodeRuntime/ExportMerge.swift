// Merges the sorted streams of several nodes into one, every job once.

internal import ClusterModel
internal import Wire

/// The rows of one node on their way.
struct ExportStream: Sendable {
    let name: String
    let rows: Conduit<Ocr_V1_ExportRow>
}

/// The first row of each stream, in order.
struct ExportMerge {
    private struct Head {
        let place: ExportPlace
        let row: Ocr_V1_ExportRow
        let stream: ExportStream
    }

    /// In descending order: the next row is the last.
    private var heads: [Head] = []
    private var last: ExportPlace?

    /// Takes the next row of a stream in.
    mutating func advance(_ stream: ExportStream) async throws {
        guard let row = try await stream.rows.next() else { return }
        let place = ExportPlace(row)
        var (low, high) = (0, heads.count)
        while low < high {
            let middle = (low + high) / 2
            if place < heads[middle].place { low = middle + 1 } else { high = middle }
        }
        heads.insert(Head(place: place, row: row, stream: stream), at: low)
    }

    /// The next row and the stream that it came from; nil at the end.
    ///
    /// Throws when a stream is not in order, or two nodes gave the same job: then it cannot be said that every job is
    /// there once.
    mutating func takeFirst() throws -> (row: Ocr_V1_ExportRow, stream: ExportStream)? {
        guard let head = heads.popLast() else { return nil }
        if let last, !(last < head.place) {
            throw AdminError(
                code: "export-order", message: "the export of node \(head.stream.name) is out of order",
                hint: "run it again; `node status` tells whether shards are being moved")
        }
        last = head.place
        return (head.row, head.stream)
    }
}

/// `ExportPosition`, as a row tells it.
struct ExportPlace: Comparable {
    let source: SourceReference
    let first: UInt32
    let last: UInt32
    let job: String

    init(_ row: Ocr_V1_ExportRow) {
        source = SourceReference(bytes: Array(row.source))
        first = row.hasFirstPage ? row.firstPage : 0
        last = row.hasLastPage ? row.lastPage : 0
        job = row.job
    }

    static func < (left: ExportPlace, right: ExportPlace) -> Bool {
        if left.source != right.source { return left.source < right.source }
        return (left.first, left.last, left.job) < (right.first, right.last, right.job)
    }
}
