// `--manifest FILE`: CSV with a header, or JSON Lines; read as a stream.

internal import ClusterModel
internal import FoundationEssentials
internal import Glibc

/// One usable line of a manifest, or why it is not usable.
package enum ManifestEntry: Hashable, Sendable {
    case entry(source: [UInt8], language: String?, priority: Int?)
    /// `source` is what to call it: the source if it could be read, else "manifest.csv line 7".
    case skipped(source: [UInt8], reason: String)
}

/// Parses manifests from bytes.
package struct Manifest {
    package enum Format: Hashable, Sendable { case csv, jsonLines }

    /// Longest line of a JSON Lines manifest.
    package static let lineByteLimit = 128 << 10

    /// Chosen from the first bytes: a `{` begins JSON Lines.
    package static func format(firstBytes: [UInt8], name: String) throws(SubmissionError) -> Format {
        let start = firstBytes.starts(with: [0xEF, 0xBB, 0xBF]) ? firstBytes.dropFirst(3) : firstBytes[...]
        let space: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]
        guard let first = start.first(where: { !space.contains($0) }) else {
            throw SubmissionError(
                "the manifest \(name) is empty", hint: "it needs a header line with a column 'source'")
        }
        if first == UInt8(ascii: "[") {
            throw SubmissionError(
                "the manifest \(name) is a JSON array", hint: "write one object a line (JSON Lines), or CSV")
        }
        guard first == UInt8(ascii: "{") else { return .csv }
        return .jsonLines
    }

    /// The S3 Inventory that `source` is the manifest of; nil, and nothing is taken of it, when it is something else.
    static func inventory(_ source: inout ByteSource, name: String) throws(SubmissionError) -> Inventory? {
        let first = try source.read()
        let rest = source
        guard Inventory.isManifest(first) else {
            var pending: [UInt8]? = first
            source = ByteSource { () throws(SubmissionError) in
                if let piece = pending.take() { return piece }
                return try rest.read()
            }
            return nil
        }
        var document = first
        while true {
            let piece = try rest.read()
            if piece.isEmpty { return try Inventory(manifest: document, name: name) }
            document += piece
            guard document.count <= Inventory.manifestByteLimit else {
                throw SubmissionError(
                    "the S3 Inventory \(name) is larger than \(Inventory.manifestByteLimit >> 20) MiB")
            }
        }
    }

    /// Calls `body` with every entry in order; it returns false to end. Throws when there is no `source` column.
    /// `name` is for messages.
    package static func read(
        _ source: ByteSource, name: String, body: (ManifestEntry) throws(SubmissionError) -> Bool
    ) throws(SubmissionError) {
        let first = try source.read()
        let format = try format(firstBytes: first, name: name)
        var pending: [UInt8]? = first
        let whole = ByteSource { () throws(SubmissionError) in
            if let piece = pending {
                pending = nil
                return piece
            }
            return try source.read()
        }
        switch format {
        case .csv: try readCSV(whole, name: name, body: body)
        case .jsonLines: try readJSONLines(whole, name: name, body: body)
        }
    }

    // MARK: CSV

    private struct Columns {
        let source: Int
        let language: Int?
        let priority: Int?
    }

    private static func readCSV(
        _ source: ByteSource, name: String, body: (ManifestEntry) throws(SubmissionError) -> Bool
    ) throws(SubmissionError) {
        var reader = CSVReader()
        var columns: Columns?
        func take(_ row: CSVReader.Row, _ line: Int) throws(SubmissionError) -> Bool {
            guard let known = columns else {
                columns = try header(row, name: name)
                return true
            }
            return try body(entry(row, known, place: "\(name) line \(line)"))
        }
        while true {
            let piece = try source.read()
            if piece.isEmpty { break }
            guard try reader.feed(piece, body: take) else { return }
        }
        _ = try reader.finish(body: take)
        if columns == nil { throw SubmissionError("the manifest \(name) has no header line") }
    }

    private static func header(_ row: CSVReader.Row, name: String) throws(SubmissionError) -> Columns {
        guard case .fields(let fields) = row else {
            throw SubmissionError("the header of the manifest \(name) is not CSV")
        }
        let names = fields.map { String(decoding: $0, as: UTF8.self).lowercased() }.map {
            String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        guard let source = names.firstIndex(of: "source") else {
            throw SubmissionError(
                "the manifest \(name) has no column 'source'",
                hint: "its first line names its columns: source, and if wanted language and priority")
        }
        return Columns(
            source: source, language: names.firstIndex(of: "language"), priority: names.firstIndex(of: "priority"))
    }

    private static func entry(_ row: CSVReader.Row, _ columns: Columns, place: String) -> ManifestEntry {
        switch row {
        case .broken(let reason):
            return .skipped(source: Array(place.utf8), reason: reason)
        case .fields(let fields):
            guard fields.indices.contains(columns.source), !fields[columns.source].isEmpty else {
                return .skipped(source: Array(place.utf8), reason: "no source")
            }
            func text(_ column: Int?) -> String? {
                guard let column, fields.indices.contains(column), !fields[column].isEmpty else { return nil }
                return String(decoding: fields[column], as: UTF8.self)
            }
            let source = fields[columns.source]
            var priority: Int?
            if let given = text(columns.priority) {
                guard let number = Int(given) else {
                    return .skipped(source: source, reason: "priority '\(given)' is not a whole number (\(place))")
                }
                priority = number
            }
            return check(source: source, language: text(columns.language), priority: priority, place: place)
        }
    }

    // MARK: JSON Lines

    private struct Line: Decodable {
        var source: String
        var language: String?
        var priority: Int?
    }

    private static func readJSONLines(
        _ source: ByteSource, name: String, body: (ManifestEntry) throws(SubmissionError) -> Bool
    ) throws(SubmissionError) {
        let decoder = JSONDecoder()
        _ = try RecordReader.read(source, separator: 0x0A, limit: lineByteLimit) {
            (record, number) throws(SubmissionError) in
            let place = "\(name) line \(number)"
            guard var record else {
                return try body(
                    .skipped(source: Array(place.utf8), reason: "longer than \(lineByteLimit >> 10) KiB"))
            }
            if number == 1, record.starts(with: [0xEF, 0xBB, 0xBF]) { record.removeFirst(3) }
            if record.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return true }
            guard let line = try? decoder.decode(Line.self, from: Data(record)) else {
                return try body(
                    .skipped(
                        source: Array(place.utf8),
                        reason:
                            "not a JSON object with a text 'source', and if wanted 'language' and a number 'priority'"
                    ))
            }
            return try body(
                check(source: Array(line.source.utf8), language: line.language, priority: line.priority, place: place))
        }
    }

    // MARK: Both

    private static func check(source: [UInt8], language: String?, priority: Int?, place: String) -> ManifestEntry {
        func skip(_ reason: String) -> ManifestEntry { .skipped(source: source, reason: "\(reason) (\(place))") }
        if source.isEmpty { return .skipped(source: Array(place.utf8), reason: "no source") }
        if let language, LanguageSpecification.names(in: language) == nil {
            return skip("'\(language)' is not a language")
        }
        if let priority, !Limits.priorityRange.contains(priority) {
            return skip(
                "priority \(priority) is not within \(Limits.priorityRange.lowerBound) and "
                    + "\(Limits.priorityRange.upperBound)")
        }
        return .entry(source: source, language: language, priority: priority)
    }
}
