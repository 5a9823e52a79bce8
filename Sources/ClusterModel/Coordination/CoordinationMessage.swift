// What the coordination cores of two nodes say to each other. `Wire` encodes these; cores and simulator use them as they
// are.
//
// All are one-way and may be lost, doubled or overtaken: whoever wants an answer asks again. Nothing in them is believed
// before it is checked, and nothing that they do to a record is more than a merge.

/// One message from a core to that of another node.
package enum CoordinationMessage: Hashable, Sendable {
    // MARK: Replication
    /// Records for the receiver to merge, with the batches that they belong to.
    case copies(CopyBatch)
    /// These copies are committed at the sender of the receipts.
    case receipts([CopyReceipt])

    // MARK: Anti-entropy
    /// "This is what I hold of the shards that we share": answered by `comparison`.
    case digests(DigestOffer)
    case comparison(DigestComparison)
    /// "These are the records that I hold of one bucket": answered by `keyAnswer`, and by copies of what is newer there.
    case keys(KeyList)
    case keyAnswer(KeyAnswer)

    // MARK: Batches and settings of the whole cluster
    /// Digest of the sender's catalogue; one who has another answers with `catalogue`.
    case catalogueDigest(UInt64)
    /// "I have the catalogue with this digest": to a node that goes, and answered by nobody.
    case catalogueConfirmation(UInt64)
    /// Batches and settings to merge. `wantsAnswer`: the receiver sends its own back if it differs.
    case catalogue(Catalogue, wantsAnswer: Bool)

    // MARK: Submission
    /// Jobs for the receiver to admit as their primary.
    case admit(AdmitRequest)
    case admitted(AdmitAnswer)

    // MARK: Stealing
    case steal(StealRequest)
    case grant(StealGrant)
    /// "I still hold these": a thief to the primary of the jobs, at each renewal interval.
    case renew([HeldJob])
    /// The receiver of `renew` has given these to somebody else, or they have ended: what has not begun is dropped.
    case lost([HeldJob])
    /// Un-started jobs that the thief gives back.
    case giveBack([HeldJob])

    // MARK: Operators' changes
    case operate(OperateRequest)
    case operated(OperateAnswer)
}

/// A copy of a record on its way between nodes; a done record always with its result (DESIGN §3).
package struct RecordCopy: Hashable, Sendable {
    /// The sender's outbox entry; 0 for a copy that anti-entropy found to be missing.
    package let sequence: Int64
    package let record: Record
    package let result: StoredResult?

    package init(sequence: Int64, record: Record, result: StoredResult?) {
        self.sequence = sequence
        self.record = record
        self.result = result
    }
}

/// At most `Limits.replicationChunkCount` copies.
package struct CopyBatch: Hashable, Sendable {
    package var batches: [Batch]
    package var copies: [RecordCopy]

    package init(batches: [Batch], copies: [RecordCopy]) {
        self.batches = batches
        self.copies = copies
    }
}

/// "This copy is committed here."
package struct CopyReceipt: Hashable, Sendable {
    package let sequence: Int64
    /// The stamp of the copy that arrived (not of what the merge made of it).
    package let stamp: RecordStamp

    package init(sequence: Int64, stamp: RecordStamp) {
        self.sequence = sequence
        self.stamp = stamp
    }
}

/// A shard and the digest of what somebody holds of it.
package struct ShardDigest: Hashable, Sendable {
    package let shard: ShardIndex
    package let digest: RecordDigest

    package init(shard: ShardIndex, digest: RecordDigest) {
        self.shard = shard
        self.digest = digest
    }
}

package struct DigestOffer: Hashable, Sendable {
    /// Names the offer in its answer.
    package let number: UInt64
    package var shards: [ShardDigest]

    package init(number: UInt64, shards: [ShardDigest]) {
        self.number = number
        self.shards = shards
    }
}

/// The answer to a `DigestOffer`: every shard of it is in one of the two lists.
package struct DigestComparison: Hashable, Sendable {
    package let number: UInt64
    /// The answerer holds the same, committed.
    package var equal: [ShardIndex]
    /// Those that differ, with the answerer's own buckets (`ShardLayout.bucketCount` each).
    package var differing: [ShardBuckets]

    package init(number: UInt64, equal: [ShardIndex], differing: [ShardBuckets]) {
        self.number = number
        self.equal = equal
        self.differing = differing
    }
}

package struct ShardBuckets: Hashable, Sendable {
    package let shard: ShardIndex
    package let buckets: [RecordDigest]

    package init(shard: ShardIndex, buckets: [RecordDigest]) {
        self.shard = shard
        self.buckets = buckets
    }
}

/// All records of one bucket that the sender holds, by stamp in order of the keys; in several lists where they are more
/// than `Limits.keyListCount`.
package struct KeyList: Hashable, Sendable {
    /// Names the list in its answer.
    package let number: UInt64
    package let shard: ShardIndex
    package let bucket: Int
    /// The keys that the list is complete for: what the receiver holds between them and is not named is missing at the
    /// sender.
    package let first: JobKey
    package let last: JobKey
    package var stamps: [RecordStamp]
    /// The sender is no replica of the shard and wants to get rid of these: it takes nothing back.
    package let isHandOver: Bool

    package init(
        number: UInt64, shard: ShardIndex, bucket: Int, first: JobKey, last: JobKey, stamps: [RecordStamp],
        isHandOver: Bool
    ) {
        self.number = number
        self.shard = shard
        self.bucket = bucket
        self.first = first
        self.last = last
        self.stamps = stamps
        self.isHandOver = isHandOver
    }
}

/// The answer to a `KeyList`.
package struct KeyAnswer: Hashable, Sendable {
    package let number: UInt64
    /// Keys of the list whose records the answerer lacks or has with another stamp. Of all others it holds, committed,
    /// what the list names.
    package var wanted: [JobKey]

    package init(number: UInt64, wanted: [JobKey]) {
        self.number = number
        self.wanted = wanted
    }
}

/// A value of the whole cluster; last writer wins by (version, writer).
package struct ClusterSetting: Hashable, Sendable {
    package enum Name: String, Hashable, CaseIterable, Sendable {
        /// "yes": no node takes work until it is "no".
        case paused
    }

    package let name: Name
    package var value: String
    package var version: UInt64
    package var writer: NodeID

    package init(name: Name, value: String, version: UInt64, writer: NodeID) {
        self.name = name
        self.value = value
        self.version = version
        self.writer = writer
    }

    package static func merge(_ left: ClusterSetting, _ right: ClusterSetting) -> ClusterSetting {
        precondition(left.name == right.name, "merge of two different settings")
        return (left.version, left.writer, left.value) >= (right.version, right.writer, right.value) ? left : right
    }
}

/// Batches, tombstones included, settings and watches: what every node has.
package struct Catalogue: Hashable, Sendable {
    /// At most `Limits.catalogueChunkCount`; a larger catalogue goes in several messages.
    package var batches: [Batch]
    package var settings: [ClusterSetting]
    /// At most `Limits.watchChunkCount`.
    package var watches: [Watch]

    package init(batches: [Batch], settings: [ClusterSetting] = [], watches: [Watch] = []) {
        self.batches = batches
        self.settings = settings
        self.watches = watches
    }
}

/// One job to admit; its key was computed by the shell from the specification.
package struct Submission: Hashable, Sendable {
    package let key: JobKey
    package let specification: JobSpecification
    /// Of a further part of a file: the epoch of the file's first part, which counted the pages. 0 for what a client
    /// submits.
    package let fileEpoch: UInt32
    /// Names pages that the file, as the specification says it is, does not have: nothing new is made of it, and what is
    /// there of another version of the file is taken back.
    package let isBeyondEnd: Bool

    package init(
        key: JobKey, specification: JobSpecification, fileEpoch: UInt32 = 0, isBeyondEnd: Bool = false
    ) {
        self.key = key
        self.specification = specification
        self.fileEpoch = fileEpoch
        self.isBeyondEnd = isBeyondEnd
    }
}

package struct AdmitRequest: Hashable, Sendable {
    /// Of the sender's choosing; the same when it asks again.
    package let number: UInt64
    package var batch: Batch
    /// At most `Limits.submissionChunkCount`.
    package var entries: [Submission]

    package init(number: UInt64, batch: Batch, entries: [Submission]) {
        self.number = number
        self.batch = batch
        self.entries = entries
    }
}

package struct AdmitAnswer: Hashable, Sendable {
    package let number: UInt64
    package var new: Int
    package var known: Int
    package var changed: Int
    /// Nodes that have committed all of it.
    package var copies: Int
    /// Why nothing was admitted; nil when it was.
    package var refusal: String?

    package init(number: UInt64, new: Int = 0, known: Int = 0, changed: Int = 0, copies: Int, refusal: String? = nil) {
        self.number = number
        self.new = new
        self.known = known
        self.changed = changed
        self.copies = copies
        self.refusal = refusal
    }
}

/// A thief asks for work (DESIGN §6 "Steal").
package struct StealRequest: Hashable, Sendable {
    package let number: UInt64
    package var boot: Boot
    /// What the thief has waiting, in milliseconds of work of one slot.
    package var workMilliseconds: UInt64
    package var workers: UInt32
    /// Slots that have nothing to do at all.
    package var idle: UInt32
    /// Languages that its slots have loaded, the most frequent first; at most `Limits.stealLanguageCount`.
    package var languages: [String]

    package init(
        number: UInt64, boot: Boot, workMilliseconds: UInt64, workers: UInt32, idle: UInt32, languages: [String]
    ) {
        self.number = number
        self.boot = boot
        self.workMilliseconds = workMilliseconds
        self.workers = workers
        self.idle = idle
        self.languages = languages
    }
}

/// A job given to a thief, its attempt already marked and committed by the victim.
package struct GrantedJob: Hashable, Sendable {
    package let record: Record
    /// A second run of a job that takes very long elsewhere.
    package let isBackup: Bool

    package init(record: Record, isBackup: Bool) {
        self.record = record
        self.isBackup = isBackup
    }
}

package struct StealGrant: Hashable, Sendable {
    package let number: UInt64
    /// None: there is nothing to spare.
    package var jobs: [GrantedJob]
    /// The batches of the jobs.
    package var batches: [Batch]
    package var leaseMilliseconds: UInt64
    /// What one job takes here, about; 0 when not known.
    package var typicalMilliseconds: UInt64
    /// Jobs that are still waiting here.
    package var backlog: UInt64
    /// Others that had much to do when the victim last heard of them, so that a refused thief does not search long.
    package var others: [NodeID]

    package init(
        number: UInt64, jobs: [GrantedJob], batches: [Batch], leaseMilliseconds: UInt64, typicalMilliseconds: UInt64,
        backlog: UInt64, others: [NodeID]
    ) {
        self.number = number
        self.jobs = jobs
        self.batches = batches
        self.leaseMilliseconds = leaseMilliseconds
        self.typicalMilliseconds = typicalMilliseconds
        self.backlog = backlog
        self.others = others
    }
}

/// A job that somebody holds, by attempt.
package struct HeldJob: Hashable, Sendable {
    package let key: JobKey
    package let epoch: UInt32
    package let attempt: UInt32
    /// Whether a slot works at it.
    package let isRunning: Bool

    package init(key: JobKey, epoch: UInt32, attempt: UInt32, isRunning: Bool) {
        self.key = key
        self.epoch = epoch
        self.attempt = attempt
        self.isRunning = isRunning
    }
}

/// A change that an operator makes to many jobs.
package struct Operation: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// Failed (and, unless `onlyFailed`, cancelled) jobs become pending in the next epoch.
        case retry(onlyFailed: Bool)
        /// Pending jobs become cancelled.
        case cancel
        /// Jobs whose source matches the pattern (`*`, `?`, over the whole source) get another language, in the next
        /// epoch; finished ones only with `redo`.
        case relabel(language: String, pattern: [UInt8], redo: Bool)
    }

    package enum Selection: Hashable, Sendable {
        case batch(BatchID)
        case allBatches
        /// At most `Limits.operationJobCount`.
        case jobs([JobKey])
    }

    package var kind: Kind
    package var selection: Selection

    package init(kind: Kind, selection: Selection) {
        self.kind = kind
        self.selection = selection
    }
}

/// An operation on the shards of which the receiver is primary, among those that are named.
package struct OperateRequest: Hashable, Sendable {
    package let number: UInt64
    package var operation: Operation
    package var shards: ShardSet

    package init(number: UInt64, operation: Operation, shards: ShardSet) {
        self.number = number
        self.operation = operation
        self.shards = shards
    }
}

package struct OperateAnswer: Hashable, Sendable {
    package let number: UInt64
    package var changed: Int
    /// The shards that it was done for.
    package var shards: ShardSet
    /// Of the jobs that were named: those that are there.
    package var found: [JobKey]

    package init(number: UInt64, changed: Int, shards: ShardSet, found: [JobKey]) {
        self.number = number
        self.changed = changed
        self.shards = shards
        self.found = found
    }
}
