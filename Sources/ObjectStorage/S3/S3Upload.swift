// Writing to S3: objects in one request, and in parts.

internal import ClusterModel
internal import NIOHTTP1

extension S3Client {
    /// Writes an object in one request, over what is there.
    package func put(_ location: S3Location, _ bytes: [UInt8]) async throws(StoreError) {
        _ = try await change("PUT", location, [], bytes)
    }

    /// Begins an upload in parts. Returns its id.
    package func beginUpload(_ location: S3Location) async throws(StoreError) -> String {
        let answer = try await change("POST", location, [("uploads", "")], [])
        guard let id = XMLFields.texts("UploadId", in: answer.body).first, !id.isEmpty else {
            throw StoreError(.unusable, "\(location.source.text): the store does not name the upload that it began")
        }
        return id
    }

    /// Sends a part, counted from 1. Returns its ETag.
    package func uploadPart(
        _ location: S3Location, upload: String, number: Int, _ bytes: [UInt8]
    ) async throws(StoreError) -> String {
        let answer = try await change(
            "PUT", location, [("partNumber", "\(number)"), ("uploadId", upload)], bytes)
        guard let tag = answer.headers.first(name: "ETag") else {
            throw StoreError(.unusable, "\(location.source.text): the store gives part \(number) no ETag")
        }
        return tag
    }

    /// Makes the object of its parts: it appears under its key.
    package func completeUpload(
        _ location: S3Location, upload: String, tags: [String]
    ) async throws(StoreError) {
        var text = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        for (index, tag) in tags.enumerated() {
            let escaped = tag.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
            text += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(escaped)</ETag></Part>"
        }
        text += "</CompleteMultipartUpload>"
        let answer = try await change("POST", location, [("uploadId", upload)], Array(text.utf8))
        // An error may come with the status of a success: the answer begins before the object is made.
        let error = S3ErrorBody(xml: answer.body)
        guard error.code.isEmpty else {
            throw StoreError(.unavailable, "\(location.source.text): \(error.code) \(error.message)")
        }
    }

    /// Forgets an upload and its parts. One that is not known any more is no error.
    package func abortUpload(_ location: S3Location, upload: String) async throws(StoreError) {
        do {
            _ = try await change("DELETE", location, [("uploadId", upload)], [])
        } catch  where error.kind == .missing {
            return
        }
    }

    /// Ids of the uploads to this very key that were begun and neither completed nor aborted; the first thousand.
    package func openUploads(_ location: S3Location) async throws(StoreError) -> [String] {
        let bucket = S3Location(bucket: location.bucket, key: [])
        let answer = try await change(
            "GET", bucket,
            [("uploads", ""), ("encoding-type", "url"), ("prefix", String(decoding: location.key, as: UTF8.self))], [])
        let keys = XMLFields.texts("Key", in: answer.body).map { PercentEncoding.decode(Array($0.utf8)) }
        let ids = XMLFields.texts("UploadId", in: answer.body)
        return zip(keys, ids).filter { $0.0 == location.key }.map(\.1)
    }

    private func change(
        _ method: String, _ location: S3Location, _ query: [(String, String)], _ bytes: [UInt8]
    ) async throws(StoreError) -> (headers: HTTPHeaders, body: [UInt8]) {
        let request = S3Request(
            self, location, query: query.map { (name: $0.0, value: $0.1) }, name: location.source.text,
            method: method, body: bytes)
        return try await client.exchange(request, gates: client.storeGates, limit: ListedPage.byteLimit)
    }
}

enum XMLFields {
    /// The texts of all elements of a name, in order; those before what is no XML.
    static func texts(_ name: String, in xml: [UInt8]) -> [String] {
        var reader = XMLReader(xml)
        var texts: [String] = []
        var text: [UInt8] = []
        while case .some(.some(let event)) = try? reader.next() {
            switch event {
            case .start: text = []
            case .text(let piece): text += piece
            case .end(let ended):
                if ended == name { texts.append(String(decoding: text, as: UTF8.self)) }
                text = []
            }
        }
        return texts
    }
}

/// An object that grows: parts are sent as they are full, and the object is there when it is finished. What is smaller than
/// a part is one request.
///
/// For one task at a time.
package final class GrowingObject {
    private let s3: S3Client
    private let location: S3Location
    private var upload: String?
    private var tags: [String] = []

    /// Parts that an upload can have; the last of them are larger, so that 152 GiB fit.
    private static let partCount = 10_000
    private static let smallPartCount = 1_000

    package init(_ s3: S3Client, _ location: S3Location) {
        self.s3 = s3
        self.location = location
    }

    /// Bytes of the next part.
    package var partByteCount: Int { tags.count < Self.smallPartCount ? 8 << 20 : 16 << 20 }

    /// Sends the next part: `partByteCount` bytes.
    package func append(_ bytes: [UInt8]) async throws(StoreError) {
        guard tags.count < Self.partCount else {
            throw StoreError(.tooLarge, "\(location.source.text): an object has at most \(Self.partCount) parts")
        }
        let id: String
        if let upload {
            id = upload
        } else {
            id = try await s3.beginUpload(location)
            upload = id
        }
        tags.append(try await s3.uploadPart(location, upload: id, number: tags.count + 1, bytes))
    }

    /// Sends the rest, which may be nothing, and makes the object appear.
    package func finish(_ rest: [UInt8]) async throws(StoreError) {
        guard let upload else { return try await s3.put(location, rest) }
        if !rest.isEmpty { try await append(rest) }
        try await s3.completeUpload(location, upload: upload, tags: tags)
        self.upload = nil
    }

    /// Removes the parts that were sent.
    package func abandon() async throws(StoreError) {
        guard let upload else { return }
        self.upload = nil
        try await s3.abortUpload(location, upload: upload)
    }
}
