// Every bound that the code enforces, by name. What an operator may change is in cluster.conf and only defaults here.

/// Fixed limits of the model. Sizes are bytes unless the name says otherwise.
package enum Limits {
    /// Longest source reference (a path of 4,096 bytes, or a URL).
    package static let sourceByteCount = 8_192
    /// Longest ETag of a source; a longer one is not kept.
    package static let sourceTagByteCount = 256
    /// Longest batch name, in UTF-8 bytes.
    package static let batchNameByteCount = 200
    /// Longest language specification ("deu+eng+…").
    package static let languageByteCount = 200
    /// Languages in one specification.
    package static let languageCount = 16
    /// Longest detail text of a failure; longer ones are cut.
    package static let failureDetailByteCount = 500
    /// Largest encoded result of one job.
    package static let resultByteCount = 16 << 20
    /// Largest output of one job (hOCR, ALTO, …) before it is compressed.
    package static let outputByteCount = 64 << 20
    /// Entries in one submission chunk.
    package static let submissionChunkCount = 1_000
    /// Inputs that one step takes into one transaction.
    package static let stepInputCount = 1_024
    /// Pending jobs that the queue holds in memory; the rest stays in the ledger.
    package static let queueWindowCount = 1_024
    /// Jobs waiting for their backoff that are remembered in memory; those beyond are found again by the next scan.
    package static let deferredCount = 10_000
    /// Slots of one node.
    package static let workerCount = 1_024
    /// Machines whose costs are counted, those that are gone among them.
    package static let costMachineCount = 10_000
    /// Dollars an hour that a machine may cost.
    package static let costPerHour = 10_000.0
    /// Jobs handed to one slot: the running one and the next, so that a slot never waits for a commit.
    package static let slotDepth = 2
    /// Most jobs handed to one slot ahead of time when they are very short.
    package static let slotDepthCeiling = 512
    /// Times a job may pass over the queue's head for a slot that has its language loaded.
    package static let affinityPassCount = 64
    /// Starts of a job that ended neither in a result nor in a failure (its node died) before it is given up.
    package static let interruptionCount = 10
    /// Lowest and highest priority.
    package static let priorityRange = -1_000...1_000
    /// Records, and bytes of results, sent to a replica in one message.
    package static let replicationChunkCount = 256
    package static let replicationByteCount = 4 << 20
    /// Copies on their way to one peer without a receipt.
    package static let replicationWindowCount = 1_024
    /// Records that one peer is found to lack and that are remembered; those beyond are found again.
    package static let repairCount = 8_192
    /// Stamps in one list of a bucket's records.
    package static let keyListCount = 4_096
    /// Batches in one message.
    package static let catalogueChunkCount = 500
    /// Watches of one batch, and of the whole cluster, those included that were stopped; more are refused.
    package static let watchesPerBatchCount = 64
    package static let watchCount = 512
    /// Watches that a node keeps when others have let more in at the same time: those with the lowest ids.
    package static let watchKeptCount = 1_024
    /// Watches in one message.
    package static let watchChunkCount = 64
    /// Language rules of one watch, and bytes of one rule.
    package static let watchRuleCount = 64
    package static let watchRuleByteCount = 512
    /// Seconds between two complete looks at a watched place.
    package static let watchIntervalSeconds: ClosedRange<UInt32> = 1...86_400
    package static let watchIntervalDefaultSeconds: UInt32 = 30
    /// Files that one watch remembers as submitted; those beyond are offered again at each look, and found to be known.
    package static let watchRememberedCount = 2_000_000
    /// Files that one watch remembers as not complete yet; those beyond are found again at the next look.
    package static let watchUnsettledCount = 10_000
    /// Folders below one watched folder whose events are listened to; the others are only looked at.
    package static let watchedFolderCount = 100_000
    /// Longest text in which a watch says what is wrong; longer ones are cut.
    package static let watchNoteByteCount = 500
    /// Operations that a node carries out for others at once.
    package static let operationCount = 64
    /// Jobs that an operation may name.
    package static let operationJobCount = 10_000
    /// Jobs in one grant, and in one message of renewals.
    package static let grantCount = 1_024
    package static let heldJobCount = 10_000
    /// Languages that a thief names.
    package static let stealLanguageCount = 8
    /// Busy nodes that a victim names to a thief.
    package static let stealHintCount = 3
    /// Jobs that are looked up in one call between nodes.
    package static let lookUpCount = 1_000
    /// Pages that a file may have whatever is configured.
    package static let filePageCount = 100_000
    /// Pages of the largest file that is one job; pages of each part of a larger one.
    package static let unsplitPageCount = 8
    package static let partPageCount = 4
    /// Records asked of the ledger at once by listings and exports.
    package static let listingPageCount = 500

    // MARK: The same image again

    /// Contents of which a node remembers the job that has their result; about 100 bytes each.
    package static let contentCount = 262_144
    /// Questions, and notes, about contents in one call between nodes; and what waits for one peer.
    package static let contentCallCount = 1_024
    package static let contentPostCount = 4_096
    /// Latest results of a node that are kept for jobs with the same image, and their bytes.
    package static let recentResultCount = 256
    package static let recentResultByteCount = 8 << 20
    /// Bytes of results that were found for jobs whose slots have not come yet. What does not fit is recognised.
    package static let foundResultByteCount = 16 << 20

    // MARK: Bytes of images

    /// Equal files of one directory after which it is taken to be on a file system that two nodes share.
    package static let sharedFileSystemProofCount = 3
    /// Directories of which a node remembers whether they are shared.
    package static let sharedDirectoryCount = 4_096
    /// Digests of files that a node remembers.
    package static let sourceDigestCount = 4_096
    /// Bytes of an image that are read, or sent, at once.
    package static let sourceChunkByteCount = 256 << 10
    /// Threads that fetch images ahead.
    package static let sourceFetchCount = 8
    /// Images that are open or being fetched ahead of their jobs.
    package static let prefetchedSourceCount = 256
    /// How long an image is kept whose job was given back before its slot took it, unless its memory is needed.
    package static let keptSourceNanoseconds: UInt64 = 30_000_000_000
    /// Files that are offered to another node in one message.
    package static let spoolOfferCount = 256
    /// Files that one node sends for spooling at the same time.
    package static let spoolSendCount = 4
    /// Files that a report names of those that could not be spooled.
    package static let spoolReportCount = 20

    // MARK: Between nodes

    /// Messages of other nodes that wait for the next step, and their bytes; more are refused as busy.
    package static let inboxMessageCount = 8_192
    package static let inboxMessageByteCount = 64 << 20
    /// Bytes of messages of other nodes that one step takes into its transaction.
    package static let stepMessageByteCount = 8 << 20
    /// Messages for one peer that wait to be sent, and their bytes; when there are more, the oldest are dropped.
    package static let postMessageCount = 4_096
    package static let postByteCount = 32 << 20
    /// Messages in one delivery, and their bytes; a larger message goes alone.
    package static let deliveryMessageCount = 1_024
    package static let deliveryByteCount = 4 << 20

    /// Longest datagram, sealing included: fits every path's MTU with room for tunnels (DESIGN §5).
    package static let datagramByteCount = 1_400
    /// Longest label of a member: name, zone, version, cluster name; in UTF-8 bytes.
    package static let memberLabelByteCount = 63
    /// Members that a node keeps track of, those that died or left included; more are not taken in.
    package static let memberCount = 5_000
    /// Updates and loads in one datagram.
    package static let packetUpdateCount = 64
    package static let packetLoadCount = 32
    /// Loads in one push/pull exchange.
    package static let exchangedLoadCount = 256
    /// Suspicions, probes and pings on behalf of others that are under way at once.
    package static let suspicionCount = 1_000
    package static let probeCount = 64
    package static let relayCount = 256
    /// Addresses that are tried as seeds.
    package static let seedCount = 64
}
