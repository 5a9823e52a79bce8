// What coordinators of a simulated cluster take and want, as text for people.

internal import ClusterModel
internal import Coordination

enum ClusterText {
    static func text(_ key: JobKey) -> String { String(key.bits.hex.prefix(6)) }

    static func text(_ record: Record) -> String {
        "\(text(record.key)) e\(record.epoch) \(record.outcome.name) a\(record.attempts) f\(record.failures)"
    }

    static func text(_ assignment: Assignment) -> String {
        "\(text(assignment.key)) e\(assignment.epoch) a\(assignment.attempt)"
    }

    private static func text(_ jobs: [HeldJob]) -> String {
        jobs.map { "\(text($0.key)) e\($0.epoch) a\($0.attempt)\($0.isRunning ? " runs" : "")" }
            .joined(separator: ", ")
    }

    static func text(_ input: CoordinatorInput, _ world: ClusterWorld) -> String {
        switch input {
        case .message(let message, let sender): "\(world.name(of: sender)): \(text(message, world))"
        case .members(let members):
            "members "
                + members.map { member in
                    "\(world.name(of: member.id))/\(member.boot.rawValue)"
                        + (member.isAlive ? "" : " dead")
                        + (member.standing == .serving ? "" : " \(member.standing)")
                }.joined(separator: ", ")
        case .loads(let loads):
            "loads " + loads.map { "\(world.name(of: $0.id)) \($0.figures.backlog)" }.joined(separator: ", ")
        case .counted(let assignment, let pageCount): "\(text(assignment)) is the first of \(pageCount) pages"
        case .finished(let slot, let assignment, let outcome):
            switch outcome {
            case .recognised, .recognisedInPart: "slot \(slot.rawValue): \(text(assignment)) recognised"
            case .failed(let failure): "slot \(slot.rawValue): \(text(assignment)) failed, \(failure.code)"
            case .returned: "slot \(slot.rawValue): \(text(assignment)) returned"
            }
        case .submit(_, let entries): "submit \(entries.map { text($0.key) }.joined(separator: " "))"
        default: "\(input)"
        }
    }

    static func text(_ effect: CoordinatorEffect, _ world: ClusterWorld) -> String {
        switch effect {
        case .send(let id, let message): "to \(world.name(of: id)): \(text(message, world))"
        case .run(let slot, let assignment): "slot \(slot.rawValue): run \(text(assignment))"
        case .recall(let slot): "slot \(slot.rawValue): recall"
        case .interrupt(let slot): "slot \(slot.rawValue): interrupt"
        case .reply(_, let reply): "reply \(reply)"
        case .event(let event): "event \(event)"
        }
    }

    private static func text(_ message: CoordinationMessage, _ world: ClusterWorld) -> String {
        switch message {
        case .copies(let batch):
            "copies "
                + batch.copies.map { copy in
                    "#\(copy.sequence) \(text(copy.record)) \(copy.record.runner.map { world.name(of: $0) } ?? "-")"
                }.joined(separator: ", ")
        case .receipts(let receipts):
            "receipts " + receipts.map { "#\($0.sequence) \(text($0.stamp.key))" }.joined(separator: ", ")
        case .digests(let offer): "digests \(offer.number & 0xFFFF), \(offer.shards.map(\.shard.rawValue))"
        case .comparison(let answer):
            "comparison \(answer.number & 0xFFFF), equal \(answer.equal.map(\.rawValue)), "
                + "differing \(answer.differing.map(\.shard.rawValue))"
        case .keys(let list):
            "keys \(list.number & 0xFFFF) \(list.shard.rawValue)/\(list.bucket)\(list.isHandOver ? " hand-over" : ""): "
                + list.stamps.map { text($0.key) }.joined(separator: " ")
        case .keyAnswer(let answer):
            "wanted of \(answer.number & 0xFFFF): \(answer.wanted.map { text($0) }.joined(separator: " "))"
        case .admit(let request):
            "admit \(request.number & 0xFFFF): \(request.entries.map { text($0.key) }.joined(separator: " "))"
        case .admitted(let answer):
            "admitted \(answer.number & 0xFFFF): \(answer.new) new, \(answer.known) known, \(answer.changed) changed, "
                + "\(answer.copies) copies"
        case .steal(let request): "steal \(request.number & 0xFFFF), idle \(request.idle)"
        case .grant(let grant):
            "grant \(grant.number & 0xFFFF): "
                + grant.jobs.map { "\(text($0.record))\($0.isBackup ? " backup" : "")" }.joined(separator: ", ")
        case .renew(let jobs): "renew \(text(jobs))"
        case .lost(let jobs): "lost \(text(jobs))"
        case .giveBack(let jobs): "give back \(text(jobs))"
        case .catalogueDigest: "catalogue digest"
        case .catalogueConfirmation: "catalogue confirmation"
        case .catalogue(let catalogue, _):
            "catalogue \(catalogue.batches.map { "\($0.id)\($0.isRemoved ? " removed" : "")" }) \(catalogue.settings.map(\.value))"
        case .operate(let request): "operate \(request.number & 0xFFFF): \(request.operation.kind)"
        case .operated(let answer): "operated \(answer.number & 0xFFFF): \(answer.changed)"
        }
    }
}
