// What a running node knows about itself besides its jobs.

package import ClusterModel

/// Facts that do not change while the node runs.
package struct NodeFacts: Sendable {
    package var id: NodeID
    package var boot: Boot
    package var name: String
    package var clusterName: String
    package var dataDirectory: String
    package var layout: ShardLayout
    package var slotCount: Int
    /// Language of submissions that name none.
    package var defaultLanguage: String
    package var defaultProfile: Profile
    /// "tesseract 5.3.0 leptonica-1.82.0".
    package var engine: String
    package var processID: Int32
    package var startedAt: ContinuousClock.Instant
    package var stopDeadline: Duration
    /// Copies wanted of each record.
    package var replicas: Int

    package static let version = "0.1.0"
    package static let protocolVersion = 1

    package init(
        id: NodeID, boot: Boot, name: String, clusterName: String, dataDirectory: String, layout: ShardLayout,
        slotCount: Int, defaultLanguage: String, defaultProfile: Profile, engine: String,
        processID: Int32, startedAt: ContinuousClock.Instant, stopDeadline: Duration,
        replicas: Int
    ) {
        self.id = id
        self.boot = boot
        self.name = name
        self.clusterName = clusterName
        self.dataDirectory = dataDirectory
        self.layout = layout
        self.slotCount = slotCount
        self.defaultLanguage = defaultLanguage
        self.defaultProfile = defaultProfile
        self.engine = engine
        self.processID = processID
        self.startedAt = startedAt
        self.stopDeadline = stopDeadline
        self.replicas = replicas
    }
}

/// What a slot does now, as the worker pool tells it.
package struct SlotReport: Sendable {
    package var state: String
    package var processID: Int32?
    package var job: JobKey?
    package var source: SourceReference?
    package var runningSeconds: Double?
    package var jobsDone: Int
    package var rssBytes: Int?
    /// Of the job; of an idle slot those that its worker has loaded.
    package var language: String?

    package init(
        state: String, processID: Int32?, job: JobKey?, source: SourceReference?, runningSeconds: Double?,
        jobsDone: Int, rssBytes: Int?, language: String?
    ) {
        self.state = state
        self.processID = processID
        self.job = job
        self.source = source
        self.runningSeconds = runningSeconds
        self.jobsDone = jobsDone
        self.rssBytes = rssBytes
        self.language = language
    }
}

/// The models that the recogniser can load.
package protocol LanguageCatalogue: Sendable {
    /// Names of installed models, sorted.
    func installed() -> [String]
    /// Why a specification cannot be used and what to do about it; nil when it can.
    func complaint(about specification: String) -> (message: String, hint: String)?
}
