// What a store says of new objects: the messages that S3 puts into a queue, by itself, through SNS, or through EventBridge.

internal import ClusterModel
import Foundation
internal import ObjectStorage

/// An object that came or was overwritten.
struct StoreEvent: Hashable, Sendable {
    let location: S3Location
    /// Nil where the message does not say enough.
    let fingerprint: SourceFingerprint?
}

enum StoreEvents {
    /// Records of one message that are looked at.
    static let recordCount = 1_000

    /// The objects that a message tells of; none of a message that tells of something else (a test, a deletion). Nil when it
    /// is no message of a store.
    static func read(_ body: [UInt8]) -> [StoreEvent]? {
        guard let document = object(body) else { return nil }
        // SNS puts the message of the store into its own.
        if document["Type"] as? String == "Notification", let inner = document["Message"] as? String {
            return object(Array(inner.utf8)).flatMap { read($0) }
        }
        return read(document)
    }

    private static func object(_ body: [UInt8]) -> [String: Any]? {
        (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any]
    }

    private static func read(_ document: [String: Any]) -> [StoreEvent]? {
        if document["Event"] as? String == "s3:TestEvent" { return [] }
        if let detail = document["detail"] as? [String: Any] {
            guard document["detail-type"] as? String == "Object Created" else { return [] }
            // EventBridge gives the key as it is.
            return event(detail, time: document["time"], keyIsEncoded: false).map { [$0] }
        }
        guard let records = document["Records"] as? [[String: Any]] else { return nil }
        return records.prefix(recordCount).compactMap { record in
            guard let name = record["eventName"] as? String,
                name.hasPrefix("ObjectCreated:") || name.hasPrefix("s3:ObjectCreated:"),
                let s3 = record["s3"] as? [String: Any]
            else { return nil }
            return event(s3, time: record["eventTime"], keyIsEncoded: true)
        }
    }

    private static func event(_ parts: [String: Any], time: Any?, keyIsEncoded: Bool) -> StoreEvent? {
        guard let bucket = (parts["bucket"] as? [String: Any])?["name"] as? String,
            let object = parts["object"] as? [String: Any], let key = object["key"] as? String, !key.isEmpty
        else { return nil }
        // As in a form: a blank is a plus sign.
        let bytes =
            keyIsEncoded
            ? PercentEncoding.decode(Array(key.utf8.map { $0 == UInt8(ascii: "+") ? 0x20 : $0 })) : Array(key.utf8)
        let source = SourceReference(bytes: Array("s3://\(bucket)/".utf8) + bytes)
        guard source.bytes.count <= Limits.sourceByteCount, let location = S3Location(source) else { return nil }
        var fingerprint: SourceFingerprint?
        let tag = (object["eTag"] ?? object["etag"]) as? String
        if let size = (object["size"] as? NSNumber)?.int64Value, size >= 0, let tag, !tag.isEmpty {
            let nanoseconds = (time as? String).flatMap { ServerTime.iso8601($0) } ?? 0
            // A listing has the quotes.
            let quoted = tag.hasPrefix("\"") ? tag : "\"\(tag)\""
            fingerprint = SourceFingerprint(
                byteCount: size, modifiedNanoseconds: nanoseconds, tag: Array(quoted.utf8))
        }
        return StoreEvent(location: location, fingerprint: fingerprint)
    }
}
