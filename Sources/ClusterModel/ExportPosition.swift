// The order of exports. Each node gives the jobs of its shards in this order, and the exporter merges their streams: so
// it is total, and depends on nothing that differs between nodes (arrival does).

/// Where a job stands in an export of its batch: by source, then pages (a whole file before parts of it), then key.
package struct ExportPosition: Hashable, Comparable, Sendable {
    package let source: SourceReference
    package let pages: PageRange
    package let key: JobKey

    package init(_ record: Record) {
        source = record.specification.source
        pages = record.specification.pages
        key = record.key
    }

    package init(source: SourceReference, pages: PageRange, key: JobKey) {
        self.source = source
        self.pages = pages
        self.key = key
    }

    package static func < (left: ExportPosition, right: ExportPosition) -> Bool {
        if left.source != right.source { return left.source < right.source }
        if left.pages != right.pages { return left.pages < right.pages }
        return left.key < right.key
    }
}
