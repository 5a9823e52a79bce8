// The thief's side of stealing: when to ask whom, and what to do with what it gets (DESIGN §6 "Steal").

import ClusterModel

/// Jobs of other primaries that this node holds: those that wait, and those in slots.
struct HeldJobs: Sendable {
    struct Job: Hashable, Sendable {
        let record: Record
        let profile: Profile
        let isBackup: Bool
        /// Its primary has given it to somebody else.
        var isLost = false
    }

    private var byKey: [JobKey: Job] = [:]
    /// Those that no slot has, in the order in which they came.
    private var waiting: [JobKey] = []

    var count: Int { byKey.count }
    var waitingCount: Int { waiting.count }
    var waitingKeys: [JobKey] { waiting }
    var keys: [JobKey] { byKey.keys.sorted() }

    subscript(key: JobKey) -> Job? { byKey[key] }

    mutating func add(_ job: Job) {
        guard byKey.updateValue(job, forKey: job.record.key) == nil else { return }
        waiting.append(job.record.key)
    }

    /// Takes the next one for a slot, of its language if one of the first few is; it stays held.
    mutating func takeNext(preferring language: String?) -> Job? {
        guard !waiting.isEmpty else { return nil }
        let match = waiting.prefix(Limits.affinityPassCount).firstIndex {
            language == nil || byKey[$0]?.record.specification.language == language
        }
        return byKey[waiting.remove(at: match ?? 0)]
    }

    @discardableResult
    mutating func remove(_ key: JobKey) -> Job? {
        guard let job = byKey.removeValue(forKey: key) else { return nil }
        if let index = waiting.firstIndex(of: key) { waiting.remove(at: index) }
        return job
    }

    /// Removes waiting jobs.
    mutating func remove(where condition: (Job) -> Bool) {
        for key in waiting where byKey[key].map(condition) ?? false { remove(key) }
    }

    /// The primary has given a job to somebody else: a waiting one goes, a running one goes on.
    mutating func lose(_ key: JobKey) {
        if waiting.contains(key) { remove(key) } else { byKey[key]?.isLost = true }
    }
}

/// What a thief remembers of its tries.
struct Thief: Sendable {
    struct Asked: Hashable, Sendable {
        let number: UInt64
        let victim: NodeID
        let until: Instant
    }

    var asked: Asked?
    var nextTry: Instant?
    var refusals = 0
    /// Nodes that a victim said have work, or that this one found to have some.
    var hints: [NodeID] = []
    /// When anybody was last known to have work to do.
    var lastWork: Instant?
    /// The latest grants that were taken: one that arrives twice counts once.
    private var seen: [UInt64] = []
    private static let seenCount = 64

    /// Returns false for a grant that was seen before.
    mutating func note(_ number: UInt64) -> Bool {
        guard !seen.contains(number) else { return false }
        seen.append(number)
        if seen.count > Self.seenCount { seen.removeFirst() }
        return true
    }

    mutating func forget(_ id: NodeID) {
        if asked?.victim == id { asked = nil }
        hints.removeAll { $0 == id }
    }

    /// News of loads end the backoff when there is something to get.
    mutating func hear(of news: some Sequence<LoadFigures>, at now: Instant) {
        var isBusy = false
        for load in news {
            isBusy = isBusy || load.backlog > 0 || load.busy > 0
            guard load.backlog > 0 else { continue }
            if asked == nil, nextTry == nil { nextTry = now }
            break
        }
        if isBusy { lastWork = now }
    }
}

extension Coordinator {
    /// Victims that are looked at; one of the busiest two of them is asked.
    private static let sampleCount = 8
    private static let busiestCount = 2
    /// Refusals in a row after which a thief takes its time although it knows others that may have work.
    private static let hurriedTries = 8
    /// After so long without any sign of work a thief waits for news of loads.
    private static let workMemory = Duration.seconds(60)

    /// What waits here, in nanoseconds of work of one slot.
    private var waitingWork: Int64 {
        Int64(backlog + held.waitingCount) * (typicalDuration ?? .seconds(1)).nanoseconds
    }

    private var wantsWork: Bool {
        if startsClaiming != nil { return held.waitingCount < slots.count }
        let waiting = backlog + held.waitingCount
        // Whoever can fill every slot to the brim lacks nothing, however short the jobs are.
        guard waiting < slots.count * Limits.slotDepthCeiling else { return false }
        return waiting < slots.count || waitingWork < timing.lowWater.nanoseconds * Int64(slots.count)
    }

    /// What is held already, and a grant that is on its way, is still run; what this node has can still be stolen from it.
    mutating func setStealing(_ isStealing: Bool, at now: Instant) {
        guard isStealing != self.isStealing else { return }
        self.isStealing = isStealing
        thief.nextTry = now
    }

    /// Asks a victim when the own work runs out.
    mutating func steal(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        if let asked = thief.asked {
            guard now >= asked.until else { return thief.nextTry = asked.until }
            thief.asked = nil
            refused(at: now)
        }
        guard wantsWork else {
            thief.nextTry = nil
            return
        }
        if let next = thief.nextTry, now < next { return }
        guard let victim = chooseVictim(at: now) else {
            thief.nextTry = nil
            return
        }
        let request = StealRequest(
            number: takeNumber(), boot: configuration.boot,
            workMilliseconds: UInt64(max(0, waitingWork / 1_000_000)), workers: UInt32(clamping: slots.count),
            idle: UInt32(clamping: slots.count { $0.assignments.isEmpty }), languages: loadedLanguages)
        thief.asked = Thief.Asked(number: request.number, victim: victim, until: now + timing.stealPatience)
        thief.nextTry = now + timing.stealPatience
        send(.steal(request), to: victim, &effects)
    }

    private var loadedLanguages: [String] {
        var counts: [String: Int] = [:]
        for slot in slots { if let language = slot.language { counts[language, default: 0] += 1 } }
        return counts.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(Limits.stealLanguageCount).map(\.key)
    }

    private mutating func chooseVictim(at now: Instant) -> NodeID? {
        while let hint = thief.hints.popLast() { if members[hint]?.isAlive == true, hint != node { return hint } }
        var sample: [Candidate] = []
        for (id, load) in loads where id != node && members[id]?.isAlive == true {
            guard load.expectedBacklog(at: now) > 0 else { continue }
            sample.append(
                Candidate(
                    id: id, isDraining: load.figures.isDraining, seconds: load.expectedSeconds(at: now)))
        }
        guard !sample.isEmpty else {
            // Loads are old in large clusters: while there is work at all, somebody is asked, who may know better.
            guard let lastWork = thief.lastWork, now - lastWork < Self.workMemory else { return nil }
            return alivePeers.randomElement(using: &generator)
        }
        // One that drains is the most welcome victim.
        sample.sort { $0.id < $1.id }
        while sample.count > Self.sampleCount {
            sample.remove(at: Int.random(in: 0..<sample.count, using: &generator))
        }
        sample.sort {
            ($0.isDraining ? 1 : 0, $0.seconds, $0.id) > ($1.isDraining ? 1 : 0, $1.seconds, $1.id)
        }
        return sample.prefix(Self.busiestCount).randomElement(using: &generator)?.id
    }

    /// Somebody who may have work.
    private struct Candidate {
        let id: NodeID
        let isDraining: Bool
        /// Work that waits there, for each slot.
        let seconds: Double
    }

    private mutating func refused(at now: Instant) {
        thief.refusals = min(thief.refusals + 1, Self.hurriedTries + 16)
        let doubled = timing.stealBackoffBase * Int(1 << max(0, thief.refusals - 1 - Self.hurriedTries))
        thief.nextTry = now + jittered(min(doubled, timing.stealBackoffCeiling))
    }

    /// A victim's answer. Jobs that came too late, or to a node that takes none any more, go back.
    mutating func take(
        _ grant: StealGrant, from victim: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard thief.note(grant.number) else { return }
        if thief.asked?.number == grant.number { thief.asked = nil }
        if var load = loads[victim] {
            load.figures.backlog = grant.backlog
            let (work, overflow) = grant.backlog.multipliedReportingOverflow(by: grant.typicalMilliseconds)
            let seconds = work / 1_000 / UInt64(max(1, load.figures.workers))
            if grant.typicalMilliseconds > 0, !overflow { load.figures.secondsToDrain = UInt32(clamping: seconds) }
            load.since = now
            loads[victim] = load
        }
        try merge(Catalogue(batches: grant.batches), ledger: ledger, into: &effects)
        guard !grant.jobs.isEmpty else {
            thief.hints = grant.others.filter { $0 != node && $0 != victim }.reversed()
            refused(at: now)
            // Somebody else is worth a try at once, but not in a circle.
            let knowsAnother = !thief.hints.isEmpty || hasWaitingWork(at: now)
            if knowsAnother, thief.refusals <= Self.hurriedTries { thief.nextTry = now }
            return
        }
        thief.refusals = 0
        thief.nextTry = now
        thief.lastWork = now
        var back: [HeldJob] = []
        var taken = 0
        for job in grant.jobs.prefix(Limits.grantCount) {
            let record = job.record
            let isHeld =
                held[record.key].map { $0.record.epoch == record.epoch && $0.record.attempts == record.attempts }
            if isHeld == true { continue }
            guard takesWork, let batch = try batch(record.specification.batch, ledger: ledger), !batch.isRemoved,
                claims[record.key] == nil, held[record.key] == nil, leases[record.key] == nil
            else {
                back.append(
                    HeldJob(key: record.key, epoch: record.epoch, attempt: record.attempts, isRunning: false))
                continue
            }
            // While views differ, this node may hold itself for the primary too.
            queue.remove(record.key)
            deferred.remove(record.key)
            held.add(HeldJobs.Job(record: record, profile: batch.profile, isBackup: job.isBackup))
            taken += 1
        }
        if taken > 0 {
            counters.stolenIn += taken
            effects.append(.event(.stole(taken, from: victim)))
            nextRenewal = min(nextRenewal ?? .init(nanoseconds: .max), now + timing.renewal)
        }
        if !back.isEmpty { send(.giveBack(back), to: victim, &effects) }
    }

    mutating func lose(_ jobs: [HeldJob], to primary: NodeID) {
        for job in jobs where placement.primary(of: layout.shard(of: job.key)) == primary { held.lose(job.key) }
    }

    /// Tells the primaries of jobs that are held here, or that slots run, that they still are.
    mutating func renewHeld(at now: Instant, into effects: inout [CoordinatorEffect]) {
        guard let due = nextRenewal, due <= now else { return }
        var byPrimary: [NodeID: [HeldJob]] = [:]
        func add(_ key: JobKey, _ epoch: UInt32, _ attempt: UInt32, isRunning: Bool) {
            let shard = layout.shard(of: key)
            guard !primaryShards.contains(shard), let primary = placement.primary(of: shard) else { return }
            byPrimary[primary, default: []].append(
                HeldJob(key: key, epoch: epoch, attempt: attempt, isRunning: isRunning))
        }
        for (key, claim) in claims.sorted(by: { $0.key < $1.key }) where held[key]?.isLost != true {
            add(key, claim.epoch, claim.attempt, isRunning: slots[claim.slot.rawValue].assignments.first == key)
        }
        for key in held.waitingKeys {
            if let job = held[key] { add(key, job.record.epoch, job.record.attempts, isRunning: false) }
        }
        for (primary, jobs) in byPrimary.sorted(by: { $0.key < $1.key }) {
            send(.renew(Array(jobs.prefix(Limits.heldJobCount))), to: primary, &effects)
        }
        nextRenewal = byPrimary.isEmpty ? nil : now + timing.renewal
    }

    /// Gives all un-started jobs of other primaries back.
    mutating func giveBackHeld(into effects: inout [CoordinatorEffect]) {
        var byPrimary: [NodeID: [HeldJob]] = [:]
        for key in held.waitingKeys {
            guard let job = held.remove(key), let primary = placement.primary(of: layout.shard(of: key)) else {
                continue
            }
            byPrimary[primary, default: []].append(
                HeldJob(key: key, epoch: job.record.epoch, attempt: job.record.attempts, isRunning: false))
        }
        for (primary, jobs) in byPrimary.sorted(by: { $0.key < $1.key }) {
            for start in stride(from: 0, to: jobs.count, by: Limits.heldJobCount) {
                send(.giveBack(Array(jobs[start...].prefix(Limits.heldJobCount))), to: primary, &effects)
            }
        }
    }
}
