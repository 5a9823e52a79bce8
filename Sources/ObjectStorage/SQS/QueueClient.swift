// Amazon SQS and what speaks its query API: the messages of one queue, taken by long polls and deleted when they are done.
//
// No retries here: who polls comes again, and a message that was not deleted is delivered again.

import AsyncHTTPClient
internal import ClusterModel
internal import Crypto
internal import Glibc
internal import NIOCore
internal import NIOHTTP1

package struct QueueMessage: Hashable, Sendable {
    /// Names this delivery of the message.
    package let receipt: String
    package let body: [UInt8]

    package init(receipt: String, body: [UInt8]) {
        self.receipt = receipt
        self.body = body
    }
}

package struct QueueClient: Sendable {
    /// Messages of one answer: what the service allows.
    package static let messageCount = 10
    /// Ten messages of 256 KiB, escaped.
    private static let answerByteLimit = 16 << 20
    /// Shorter than the silence after which a connection is given up.
    private static let waitSeconds = 10

    private let client: StoreClient
    private let provider: any CredentialProvider
    private let url: StoreURL
    private let text: String
    private let region: String
    private let clock: @Sendable () -> Int64

    /// - Parameters:
    ///   - url: of the queue, as the service names it: "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME".
    ///   - region: where the host does not name one.
    /// Throws when it is no URL.
    package init(
        _ client: StoreClient, url text: String, region: String, credentials: any CredentialProvider,
        clock: @escaping @Sendable () -> Int64 = { Int64(time(nil)) }
    ) throws(StoreError) {
        guard let url = StoreURL(text), url.path.count > 1 else {
            throw StoreError(
                .unusable, "'\(text)' is no URL of a queue (https://sqs.REGION.amazonaws.com/ACCOUNT/NAME)")
        }
        self.client = client
        self.url = url
        self.text = text
        provider = credentials
        self.clock = clock
        let labels = url.host.split(separator: ".")
        let isAmazon = url.host.hasSuffix(".amazonaws.com") || url.host.hasSuffix(".amazonaws.com.cn")
        self.region = isAmazon && labels.count > 2 ? String(labels[0] == "sqs" ? labels[1] : labels[0]) : region
    }

    /// Waits for messages, for some seconds; none is an answer too. They are hidden from others for the queue's visibility
    /// time, and come again unless they are deleted.
    package func receive() async throws(StoreError) -> [QueueMessage] {
        let body = try await ask([
            ("Action", "ReceiveMessage"), ("MaxNumberOfMessages", "\(Self.messageCount)"),
            ("WaitTimeSeconds", "\(Self.waitSeconds)"),
        ])
        do throws(XMLReader.Malformed) {
            return try Self.messages(xml: body)
        } catch {
            throw StoreError(.unusable, "the queue \(text): the answer makes no sense: \(error.text)")
        }
    }

    /// Deletes messages, at most `messageCount`.
    package func delete(_ messages: [QueueMessage]) async throws(StoreError) {
        guard !messages.isEmpty else { return }
        precondition(messages.count <= Self.messageCount, "too many messages for one request")
        var query = [("Action", "DeleteMessageBatch")]
        for (number, message) in messages.enumerated() {
            query.append(("DeleteMessageBatchRequestEntry.\(number + 1).Id", "m\(number)"))
            query.append(("DeleteMessageBatchRequestEntry.\(number + 1).ReceiptHandle", message.receipt))
        }
        _ = try await ask(query)
    }

    /// Reads the answer to ReceiveMessage.
    package static func messages(xml: [UInt8]) throws(XMLReader.Malformed) -> [QueueMessage] {
        var reader = XMLReader(xml)
        var messages: [QueueMessage] = []
        var path: [String] = []
        var receipt = ""
        var body: [UInt8] = []
        while let event = try reader.next() {
            switch event {
            case .start(let name):
                path.append(name)
                if name == "Message" { (receipt, body) = ("", []) }
            case .text(let piece):
                guard path.dropLast().last == "Message" else { continue }
                if path.last == "ReceiptHandle" { receipt += String(decoding: piece, as: UTF8.self) }
                if path.last == "Body" { body += piece }
            case .end:
                if path.popLast() == "Message", messages.count < messageCount, !receipt.isEmpty {
                    messages.append(QueueMessage(receipt: receipt, body: body))
                }
            }
        }
        return messages
    }

    private func ask(_ parameters: [(String, String)]) async throws(StoreError) -> [UInt8] {
        let form = SignatureV4.canonicalQuery(
            (parameters + [("Version", "2012-11-05")]).map { (name: $0.0, value: $0.1) })
        let bytes = Array(form.utf8)
        var request = SignatureV4.Request(
            method: "POST", path: url.path, query: [],
            headers: [
                (name: "Host", value: url.authority),
                (name: "Content-Type", value: "application/x-www-form-urlencoded"),
            ], payloadHash: HexText.text(SHA256.hash(data: bytes)))
        request.headers.append((name: "Accept", value: "application/xml"))
        var headers = request.headers
        do throws(CredentialError) {
            if let credentials = try await provider.credentials() {
                headers = SignatureV4(credentials: credentials, region: region, service: "sqs")
                    .signedHeaders(request, seconds: clock())
            }
        } catch {
            throw StoreError(.unavailable, "the queue \(text): \(error.text)")
        }
        do {
            return try await send(bytes, headers)
        } catch let error as StoreError {
            throw error
        } catch {
            let fault = StoreFault(error)
            throw StoreError(fault.isCancelled ? .cancelled : .unavailable, "the queue \(text): \(fault.reason)")
        }
    }

    private func send(_ body: [UInt8], _ headers: [(name: String, value: String)]) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: url.origin + url.path)
        request.method = .POST
        for header in headers where header.name.lowercased() != "host" {
            request.headers.add(name: header.name, value: header.value)
        }
        request.headers.add(name: "User-Agent", value: client.options.userAgent)
        request.body = .bytes(body)
        let response = try await client.http.execute(
            request, deadline: .now() + .nanoseconds(client.options.stallTimeout.nanoseconds))
        var answer: [UInt8] = []
        for try await piece in response.body {
            answer += piece.readableBytesView
            guard answer.count <= Self.answerByteLimit else {
                throw StoreError(.unusable, "the queue \(text): the answer has more than \(Self.answerByteLimit) bytes")
            }
        }
        guard response.status.code == 200 else {
            let error = S3ErrorBody(xml: answer)
            let said = error.code.isEmpty ? "status \(response.status.code)" : "\(error.code) \(error.message)"
            let isBusy = response.status.code >= 500 || response.status.code == 429
            throw StoreError(isBusy ? .unavailable : .denied, "the queue \(text): \(said)")
        }
        return answer
    }
}
