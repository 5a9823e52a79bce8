// What messages between coordinators would be on the wire, about: from the sizes of their fields.

internal import ClusterModel

enum MessageSize {
    /// Headers of TCP/IP, TLS, HTTP/2 and gRPC.
    private static let envelope = 120
    /// A path as people have them; sources of the simulation are shorter.
    private static let source = 60
    /// Tags and small numbers beside the identities of a record.
    private static let record = 30
    private static let identity = 18
    private static let batch = 80

    static func of(_ message: CoordinationMessage) -> Int { envelope + body(message) }

    private static func body(_ message: CoordinationMessage) -> Int {
        switch message {
        case .copies(let batch):
            batch.batches.count * Self.batch
                + batch.copies.reduce(0) { $0 + of($1.record) + ($1.result == nil ? 0 : JobMix.resultByteCount) }
        case .receipts(let receipts): receipts.count * (identity + 14)
        case .digests(let offer): 8 + offer.shards.count * 17
        case .comparison(let answer):
            8 + answer.equal.count * 3 + answer.differing.reduce(0) { $0 + 4 + $1.buckets.count * 14 }
        case .keys(let list): 48 + list.stamps.count * (identity + 9)
        case .keyAnswer(let answer): 8 + answer.wanted.count * identity
        case .catalogueDigest, .catalogueConfirmation: 9
        case .catalogue(let catalogue, _):
            catalogue.batches.count * batch + catalogue.settings.count * 40
                + catalogue.watches.count * 256
        case .admit(let request): batch + request.entries.count * (identity + source + 12)
        case .admitted: 24
        case .steal(let request): 32 + request.languages.count * 6
        case .grant(let grant): batch + 32 + grant.jobs.reduce(0) { $0 + of($1.record) + 2 }
        case .renew(let jobs), .lost(let jobs), .giveBack(let jobs): jobs.count * (identity + 8)
        case .operate: 200
        case .operated: 150
        }
    }

    private static func of(_ record: Record) -> Int {
        self.record + source + identity * (1 + (record.runner == nil ? 0 : 1) + (record.resultDigest == nil ? 0 : 1))
            + (record.specification.origin == nil ? 0 : identity)
    }
}
