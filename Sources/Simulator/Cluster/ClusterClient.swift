// Clients of a simulated cluster: they submit until they are told that all is safe, and change what they have submitted.

internal import ClusterModel
internal import Coordination

/// A number of files that somebody wants to have recognised.
final class SubmissionTask {
    let name: String
    let numbers: Range<Int>
    let language: String
    /// Another number is another content of the same files.
    let version: Int64
    let conducts: [Conduct]
    let durations: [Duration]
    var batch: Batch?
    var isDone = false

    init(
        name: String, numbers: Range<Int>, language: String, version: Int64, conducts: [Conduct],
        durations: [Duration]
    ) {
        self.name = name
        self.numbers = numbers
        self.language = language
        self.version = version
        self.conducts = conducts
        self.durations = durations
    }
}

/// What clients are waiting for.
struct ClusterClient {
    enum Purpose {
        case open(SubmissionTask)
        case submit(SubmissionTask, [JobKey])
        /// Afterwards the name is used again.
        case remove(BatchID, then: SubmissionTask?)
        case change
    }

    struct Pending {
        let purpose: Purpose
        let node: ClusterNode
        let life: Int
    }

    var pending: [RequestID: Pending] = [:]
    var nextRequest: UInt64 = 1
    var tasks: [SubmissionTask] = []
    /// Batches whose jobs somebody has asked to be cancelled: those too that are submitted at the same time.
    var cancelled: Set<BatchID> = []
    /// Batches that somebody has asked to be removed.
    var removals: Set<BatchID> = []
    /// Those whose removal was confirmed.
    var removed: Set<BatchID> = []

    /// Submissions that nobody has confirmed yet.
    var openCount: Int { tasks.count { !$0.isDone } }
    /// Their jobs: two nodes may be offered one, each as its primary.
    var openJobCount: Int { tasks.reduce(0) { $0 + ($1.isDone ? 0 : $1.numbers.count) } }
}

extension ClusterWorld {
    private static let patience = Duration.seconds(25)

    // MARK: Submitting

    func submit(_ task: SubmissionTask) {
        client.tasks.append(task)
        goOn(with: task)
    }

    /// Takes the next step of a submission through some node that can be talked to.
    private func goOn(with task: SubmissionTask) {
        guard !task.isDone else { return }
        let open = open
        guard !open.isEmpty else { return after(.seconds(2)) { $0.goOn(with: task) } }
        let node = open[chance.number(below: open.count)]
        let draft = BatchDraft(name: task.name, profile: .standard, language: task.language, createdSeconds: 0)
        ask(node, .open(task)) { .openBatch($0, draft) }
    }

    private func submit(_ task: SubmissionTask, to batch: Batch, through node: ClusterNode) {
        task.batch = batch
        var entries: [Submission] = []
        for (place, number) in task.numbers.enumerated() {
            let key = JobBook.key(batch.id, number)
            let specification = JobSpecification(
                batch: batch.id, source: SourceReference(path: "/scans/\(number)"), language: task.language,
                priority: 0, fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: task.version))
            jobs.add(
                SimulatedJob(
                    key: key, batch: batch.id, conduct: task.conducts[place], duration: task.durations[place],
                    mayBeGone: client.removals.contains(batch.id)),
                key: key)
            noteAgain(key)
            if client.cancelled.contains(batch.id) { jobs.edit(key) { $0.mayBeCancelled = true } }
            entries.append(Submission(key: key, specification: specification))
        }
        if settings.startsWatches { watch(batch.id, task.numbers.lowerBound, through: node) }
        checker.noteSubmission(entries.count)
        let keys = entries.map(\.key)
        ask(node, .submit(task, keys)) { .submit($0, entries) }
    }

    /// Submitted again while all who have it are away, a job is new to those who are there.
    private func noteAgain(_ key: JobKey) {
        guard let job = jobs[key], !job.opened.isEmpty, !open.contains(where: { record(key, on: $0) != nil }) else {
            return
        }
        checker.allowDuplicates(1)
    }

    /// Begins a watch for the batch; now and then stops those that it has, or takes one over.
    private func watch(_ batch: BatchID, _ number: Int, through node: ClusterNode) {
        let id = WatchID(Bits128(high: UInt64(number % 5) &* 0x9E37_79B9_7F4A_7C15, low: UInt64(batch.generation)))
        let source = number % 2 == 0 ? "/scans/\(number % 5)" : "s3://scans/\(number % 5)"
        let known = node.core?.watches.first { $0.id == id }
        if number % 3 == 2 {
            ask(node, .change) { .stopWatches($0, .batch(batch)) }
        } else if number % 3 == 1, let known {
            take(.claimWatch(known, FolderIdentity(number: UInt64(number), madeNanoseconds: 0)), by: node)
        } else {
            let wanted = Watch(
                id: id, batch: known?.batch ?? batch, source: known?.source ?? SourceReference(path: source),
                language: "deu", priority: number % 1_000, origin: node.id, writer: node.id, createdSeconds: 0)
            ask(node, .change) { .startWatches($0, [wanted]) }
        }
    }

    // MARK: Changing

    func operate(_ operation: Operation, through node: ClusterNode) {
        switch operation.kind {
        case .cancel:
            if case .batch(let id) = operation.selection { client.cancelled.insert(id) }
            jobs.editAll { job in
                if Self.selects(operation.selection, job) { job.mayBeCancelled = true }
            }
        // What is pending again may run on both sides of a cut.
        case .retry, .relabel: checker.noteSubmission(jobs.jobs.count { Self.selects(operation.selection, $0) })
        }
        ask(node, .change) { .operate($0, operation) }
    }

    private static func selects(_ selection: Operation.Selection, _ job: SimulatedJob) -> Bool {
        switch selection {
        case .allBatches: true
        case .batch(let id): job.batch == id
        case .jobs(let keys): keys.contains(job.key)
        }
    }

    func remove(_ batch: BatchID, through node: ClusterNode, then next: SubmissionTask?) {
        client.removals.insert(batch)
        jobs.editAll { if $0.batch == batch { $0.mayBeGone = true } }
        ask(node, .remove(batch, then: next)) { .removeBatch($0, batch.name) }
    }

    func pauseCluster(_ isPaused: Bool, through node: ClusterNode) {
        ask(node, .change) { .setClusterPaused($0, isPaused) }
    }

    func pauseNode(_ isPaused: Bool, _ node: ClusterNode) {
        ask(node, .change) { isPaused ? .pause($0) : .resume($0) }
    }

    // MARK: Asking and hearing

    private func ask(
        _ node: ClusterNode, _ purpose: ClusterClient.Purpose, _ input: (RequestID) -> CoordinatorInput
    ) {
        let request = RequestID(client.nextRequest)
        client.nextRequest += 1
        client.pending[request] = ClusterClient.Pending(purpose: purpose, node: node, life: node.life)
        take(input(request), by: node)
        after(Self.patience) { world in
            // No answer: the node has ended, or was cut off. Submitting again is safe.
            guard let left = world.client.pending.removeValue(forKey: request) else { return }
            switch left.purpose {
            case .open(let task), .submit(let task, _): world.goOn(with: task)
            case .remove, .change: break
            }
        }
    }

    func hear(_ reply: CoordinatorReply, to request: RequestID) {
        guard let asked = client.pending.removeValue(forKey: request) else { return }
        switch (asked.purpose, reply) {
        case (.open(let task), .batch(.opened(let batch, _))): submit(task, to: batch, through: asked.node)
        case (.open, .batch(let opening)): violate(.reply, "a batch was not opened: \(opening)")
        case (.submit(let task, let keys), .submitted(let admission)): hear(admission, of: task, keys, asked.node)
        case (.remove(let batch, let next), .done):
            // A node that knew of nobody else may take it with it; one that did not know this generation of the name
            // has removed an older one.
            let isRemoved = batches(of: asked.node).contains { $0.id == batch && $0.isRemoved }
            if isRemoved, (asked.node.core?.placement.alive.count ?? 0) > 1 { client.removed.insert(batch) }
            if let next { submit(next) }
        case (.remove, .refused), (.change, _): break
        default: violate(.reply, "\(asked.node.name) answered something else than it was asked")
        }
    }

    private func hear(_ admission: Admission, of task: SubmissionTask, _ keys: [JobKey], _ node: ClusterNode) {
        let counted = admission.new + admission.known + admission.changed
        if admission.refusal == nil, counted + admission.unanswered != keys.count {
            violate(.reply, "\(node.name) was given \(keys.count) jobs and answered for \(counted)")
        }
        guard admission.refusal == nil, admission.unanswered == 0 else {
            // Removed meanwhile, or a part of the cluster did not answer.
            return after(.seconds(1)) { $0.goOn(with: task) }
        }
        task.isDone = true
        for key in keys { promise(key, copies: admission.copies, by: node) }
    }
}
