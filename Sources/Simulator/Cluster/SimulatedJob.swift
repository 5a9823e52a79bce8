// The jobs of a simulated cluster: what happens when they are run, and what was promised about them.

internal import ClusterModel

/// What a worker makes of a job.
enum Conduct: Hashable {
    case succeeds
    case failsForGood
    /// That many starts end in a transient failure.
    case failsAtFirst(Int)
    case fails
    /// That many starts take the whole node with them.
    case killsNodeAtFirst(Int)
    case killsNode
}

/// What somebody was told about a job, and may rely on.
struct Promise {
    /// Disks that held it when it was promised, and how many disks had been lost until then.
    var copies: Int
    var lossesBefore: Int
    var epoch: UInt32
    /// The result of that epoch was safe too.
    var isDone: Bool
}

struct SimulatedJob {
    let key: JobKey
    let batch: BatchID
    let conduct: Conduct
    let duration: Duration

    /// Its batch was asked to be removed: nothing is promised any more.
    var mayBeGone = false
    var promise: Promise?
    var mayBeCancelled = false
    var starts = 0
    /// Attempts that ended in a failure that counts, and starts that ended in nothing, in all epochs.
    var transientFailures = 0
    var interruptions = 0
    /// An attempt at the node to which it was given: two sides of a cut may give out the same number.
    struct Attempt: Hashable {
        let epoch: UInt32
        let number: UInt32
        let node: NodeID

        init(epoch: UInt32, number: UInt32, node: NodeID) {
            self.epoch = epoch
            self.number = number
            self.node = node
        }

        init(_ assignment: Assignment, at node: NodeID) {
            self.init(epoch: assignment.epoch, number: assignment.attempt, node: node)
        }
    }

    /// Attempts that were given out, and those that have ended in a result or a failure.
    var opened: Set<Attempt> = []
    var ended: Set<Attempt> = []
    /// Ends with a result, by epoch.
    var results: [UInt32: Int] = [:]

    init(key: JobKey, batch: BatchID, conduct: Conduct, duration: Duration, mayBeGone: Bool) {
        self.key = key
        self.batch = batch
        self.conduct = conduct
        self.duration = duration
        self.mayBeGone = mayBeGone
    }

    var openCount: Int { opened.count - ended.count }
    /// The most attempts whose end nobody knew at one time: a node that stood still may tell of one after the job was given
    /// up.
    private(set) var openPeak = 0

    /// An attempt was given out: a returned one may be, under the same number.
    mutating func open(_ attempt: Attempt) {
        opened.insert(attempt)
        ended.remove(attempt)
        openPeak = max(openPeak, openCount)
    }

    mutating func end(_ attempt: Attempt) { ended.insert(attempt) }

    var duplicates: Int { results.values.reduce(0) { $0 + max(0, $1 - 1) } }
}

/// All jobs that clients have ever submitted.
struct JobBook {
    private(set) var jobs: [SimulatedJob] = []
    private var index: [JobKey: Int] = [:]

    subscript(key: JobKey) -> SimulatedJob? { index[key].map { jobs[$0] } }

    mutating func edit(_ key: JobKey, _ body: (inout SimulatedJob) -> Void) {
        if let place = index[key] { body(&jobs[place]) }
    }

    mutating func editAll(_ body: (inout SimulatedJob) -> Void) {
        for place in jobs.indices { body(&jobs[place]) }
    }

    /// Adds it unless it is there.
    mutating func add(_ job: @autoclosure () -> SimulatedJob, key: JobKey) {
        guard index[key] == nil else { return }
        index[key] = jobs.count
        jobs.append(job())
    }

    /// A key as good as that of SHA-256: spread evenly, the same for the same job.
    static func key(_ batch: BatchID, _ number: Int) -> JobKey {
        var seed = UInt64(batch.generation) << 32 | UInt64(number)
        for byte in batch.name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var generator = SeededGenerator(seed: seed)
        return JobKey(Bits128(high: generator.next(), low: generator.next()))
    }

    /// The result of a job: the same wherever it is run, unless the engines differ.
    static func result(_ key: JobKey, language: String, engine: UInt64) -> StoredResult {
        var seed = key.bits.high ^ key.bits.low &+ engine &* 0x9E37_79B9
        for byte in language.utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var generator = SeededGenerator(seed: seed)
        let digest = Bits128(high: generator.next(), low: generator.next())
        return StoredResult(digest: digest, body: digest.bytes)
    }
}
