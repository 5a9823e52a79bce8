// What coordinators take and want, as words of the trace hash.

internal import ClusterModel
internal import Coordination

extension TraceHash {
    mutating func add(_ key: JobKey) { add(key.bits.low) }

    private mutating func add(_ stamp: RecordStamp) { add(stamp.value) }

    private mutating func add(_ jobs: [HeldJob]) {
        for job in jobs {
            add(job.key)
            add(UInt64(job.epoch) << 32 | UInt64(job.attempt) << 1 | (job.isRunning ? 1 : 0))
        }
    }

    mutating func add(_ input: CoordinatorInput) {
        switch input {
        case .openBatch(let request, _): add(101 << 32 | request.rawValue)
        case .submit(let request, let entries):
            add(102 << 32 | request.rawValue)
            for entry in entries { add(entry.key) }
        case .operate(let request, _): add(103 << 32 | request.rawValue)
        case .pause(let request): add(104 << 32 | request.rawValue)
        case .resume(let request): add(105 << 32 | request.rawValue)
        case .setClusterPaused(let request, _): add(106 << 32 | request.rawValue)
        case .removeBatch(let request, _): add(107 << 32 | request.rawValue)
        case .startWatches(let request, let watches): add(112 << 32 | request.rawValue &+ UInt64(watches.count) << 24)
        case .stopWatches(let request, _): add(113 << 32 | request.rawValue)
        case .claimWatch(let watch, _): add(114 << 32 | watch.version)
        case .drain(let order): add(108 << 32 | order.deadline.nanoseconds.magnitude)
        case .cancelDrain: add(109)
        case .setStealing(let isStealing): add(112 << 32 | (isStealing ? 1 : 0))
        case .counted(let assignment, let pageCount):
            add(113 << 32 | UInt64(clamping: pageCount))
            add(assignment.key)
        case .finished(let slot, let assignment, let outcome):
            add(110 << 32 | slot.rawValue)
            add(assignment.key)
            switch outcome {
            case .recognised(let result): add(result.digest.low)
            case .recognisedInPart(let result, let pageCount):
                add(result.digest.low)
                add(UInt64(clamping: pageCount))
            case .failed(let failure): add(UInt64(failure.code.rawValue))
            case .returned: add(1)
            }
        case .stop: add(111)
        case .members(let members):
            for member in members {
                add(member.id)
                add(member.boot.rawValue << 8 | UInt64(member.standing.rawValue) << 1 | (member.isAlive ? 1 : 0))
            }
        case .loads(let loads):
            for load in loads { add(load.figures.backlog) }
        case .message(let message, let sender):
            add(sender)
            add(message)
        }
    }

    mutating func add(_ effect: CoordinatorEffect) {
        switch effect {
        case .run(let slot, let assignment):
            add(121 << 32 | slot.rawValue)
            add(assignment.key)
        case .recall(let slot): add(122 << 32 | slot.rawValue)
        case .interrupt(let slot): add(123 << 32 | slot.rawValue)
        case .reply(let request, let reply):
            add(124 << 32 | request.rawValue)
            if case .submitted(let admission) = reply { add(admission.copies << 16 | admission.new) }
        case .send(let id, let message):
            add(id)
            add(message)
        case .event(let event):
            switch event {
            case .leaseExpired(let key, _): add(key)
            case .backedUp(let key, _): add(key)
            default: add(126)
            }
        }
    }

    mutating func add(_ message: CoordinationMessage) {
        switch message {
        case .copies(let batch):
            add(131)
            for copy in batch.copies {
                add(Int(copy.sequence))
                add(copy.record.stamp)
            }
        case .receipts(let receipts):
            add(132)
            for receipt in receipts { add(receipt.stamp) }
        case .digests(let offer):
            add(133 << 32 | offer.number)
            for shard in offer.shards { add(shard.digest.sum) }
        case .comparison(let answer):
            add(134 << 32 | answer.number)
            for shard in answer.equal { add(shard.rawValue) }
            for shard in answer.differing { add(shard.shard.rawValue) }
        case .keys(let list):
            add(135 << 32 | list.number)
            for stamp in list.stamps { add(stamp) }
        case .keyAnswer(let answer):
            add(136 << 32 | answer.number)
            for key in answer.wanted { add(key) }
        case .catalogueDigest(let digest): add(digest)
        case .catalogueConfirmation(let digest):
            add(147)
            add(digest)
        case .catalogue(let catalogue, _):
            add(137)
            for batch in catalogue.batches { add(batch.version << 1 | (batch.isRemoved ? 1 : 0)) }
            for watch in catalogue.watches { add(watch.version << 1 | UInt64(watch.state.rawValue)) }
        case .admit(let request):
            add(138 << 32 | request.number)
            for entry in request.entries { add(entry.key) }
        case .admitted(let answer):
            add(139 << 32 | answer.number)
            add(answer.new << 16 | answer.copies)
        case .steal(let request): add(140 << 32 | request.number)
        case .grant(let grant):
            add(141 << 32 | grant.number)
            for job in grant.jobs { add(job.record.stamp) }
        case .renew(let jobs):
            add(142)
            add(jobs)
        case .lost(let jobs):
            add(143)
            add(jobs)
        case .giveBack(let jobs):
            add(144)
            add(jobs)
        case .operate(let request): add(145 << 32 | request.number)
        case .operated(let answer): add(146 << 32 | answer.number)
        }
    }
}
