// S3 Inventory: a `manifest.json` that names gzipped CSV files, whose rows are objects.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html

package import ClusterModel
internal import FoundationEssentials

/// An inventory as its manifest describes it.
package struct Inventory: Hashable, Sendable {
    /// Largest `manifest.json`: some hundred thousand data files.
    package static let manifestByteLimit = 64 << 20

    /// "s3://destination-bucket/key" of each data file, in their order.
    package let files: [SourceReference]
    private let sourceBucket: String
    /// Names of the columns, in lower case.
    private let columns: [String]

    private struct Document: Decodable {
        struct File: Decodable { var key: String }
        var sourceBucket: String
        var destinationBucket: String
        var fileFormat: String
        var fileSchema: String
        var files: [File]
    }

    /// Whether a JSON document begins like an inventory's manifest.
    static func isManifest(_ firstBytes: some Collection<UInt8>) -> Bool {
        let text = String(decoding: firstBytes.prefix(4_096), as: UTF8.self)
        return ["\"sourceBucket\"", "\"destinationBucket\"", "\"fileSchema\""].contains { text.contains($0) }
    }

    package init(manifest: [UInt8], name: String) throws(SubmissionError) {
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(manifest)) else {
            throw SubmissionError(
                "the S3 Inventory \(name) lacks one of sourceBucket, destinationBucket, fileFormat, fileSchema, files")
        }
        guard document.fileFormat.uppercased() == "CSV" else {
            throw SubmissionError(
                "the S3 Inventory \(name) is in the format \(document.fileFormat)",
                hint:
                    "make an inventory in the format CSV, or list the bucket: node submit s3://\(document.sourceBucket)/"
            )
        }
        columns = document.fileSchema.split(separator: ",").map {
            String($0.filter { $0 != " " }).lowercased()
        }
        guard columns.contains("key") else { throw SubmissionError("the S3 Inventory \(name) has no column Key") }
        sourceBucket = document.sourceBucket
        let arn = "arn:aws:s3:::"
        let bucket =
            document.destinationBucket.hasPrefix(arn)
            ? String(document.destinationBucket.dropFirst(arn.count)) : document.destinationBucket
        files = document.files.map { SourceReference(path: "s3://\(bucket)/\($0.key)") }
    }

    /// A row as an entry; nil for what is no object to read (an old version, a marker of a deletion or of a folder).
    /// - Parameter place: "data/x.csv.gz line 7", for reasons.
    func entry(_ row: CSVReader.Row, place: String) -> InventoryEntry? {
        guard case .fields(let fields) = row else { return .skipped(SourceReference(path: place), "not CSV") }
        func field(_ name: String) -> String? {
            guard let index = columns.firstIndex(of: name), fields.indices.contains(index) else { return nil }
            let text = String(decoding: fields[index], as: UTF8.self)
            return text.isEmpty ? nil : text
        }
        guard let index = columns.firstIndex(of: "key"), fields.indices.contains(index), !fields[index].isEmpty else {
            return .skipped(SourceReference(path: place), "no key")
        }
        if field("islatest") == "false" || field("isdeletemarker") == "true" { return nil }
        let key = FormEncoding.decode(fields[index])
        if key.last == UInt8(ascii: "/") { return nil }
        let source = SourceReference(bytes: Array("s3://\(field("bucket") ?? sourceBucket)/".utf8) + key)
        if let storage = field("storageclass"), ["GLACIER", "DEEP_ARCHIVE"].contains(storage) {
            return .skipped(source, "archived (\(storage)); restore it first")
        }
        var fingerprint: SourceFingerprint?
        if let byteCount = field("size").flatMap({ Int64($0) }), byteCount >= 0 {
            // Listings have the quotes that belong to an ETag, inventories leave them out.
            let tag = field("etag").map { $0.hasPrefix("\"") ? $0 : "\"\($0)\"" }
            fingerprint = SourceFingerprint(
                byteCount: byteCount, modifiedNanoseconds: 0, tag: tag.map { Array($0.utf8) })
        }
        return .object(source, fingerprint)
    }
}

enum InventoryEntry: Hashable, Sendable {
    case object(SourceReference, SourceFingerprint?)
    case skipped(SourceReference, String)
}

/// Keys in inventories are encoded as in forms.
enum FormEncoding {
    /// An escape that is none stays as it is.
    static func decode(_ bytes: [UInt8]) -> [UInt8] {
        func digit(_ position: Int) -> UInt8? {
            guard bytes.indices.contains(position) else { return nil }
            return switch bytes[position] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): bytes[position] - UInt8(ascii: "0")
            case UInt8(ascii: "A")...UInt8(ascii: "F"): bytes[position] - UInt8(ascii: "A") + 10
            case UInt8(ascii: "a")...UInt8(ascii: "f"): bytes[position] - UInt8(ascii: "a") + 10
            default: nil
            }
        }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var position = 0
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "%"), let high = digit(position + 1), let low = digit(position + 2) {
                decoded.append(high << 4 | low)
                position += 3
            } else {
                decoded.append(bytes[position] == UInt8(ascii: "+") ? UInt8(ascii: " ") : bytes[position])
                position += 1
            }
        }
        return decoded
    }
}
