// The decision: answers of a metadata service and the time in, what this node has to do out. No socket, no clock.
//
// A machine's end is announced once and never taken back here: a node that has begun to leave leaves. What only advises
// (a rebalance recommendation, a reboot that may still be moved) holds while the service says it.
//
//     quiet ──caution──▶ cautious ──withdrawn──▶ quiet
//       └──end──▶ ending ◀──end──┘      ending ──an earlier end──▶ ending

package import ClusterModel
import Foundation

/// The two clocks at one moment: deadlines of notices are of the wall, deadlines here are monotonic.
package struct ReadingTime: Hashable, Sendable {
    package let instant: Instant
    package let wall: WallTime

    package init(instant: Instant, wall: WallTime) {
        self.instant = instant
        self.wall = wall
    }
}

/// The machine will be taken away.
package struct EndNotice: Hashable, Sendable {
    /// For people: "EC2 spot interruption at 12:34:56".
    package let reason: String
    /// When the machine is gone.
    package let deadline: Instant
}

/// What is new after an answer.
package enum NoticeChange: Hashable, Sendable {
    /// Leave before the deadline; a second one of a machine has an earlier deadline.
    case ends(EndNotice)
    /// Take nothing from others any more; the text is for people.
    case caution(String)
    /// The caution holds no longer.
    case cautionWithdrawn
    /// The service does not answer as it should; said once until it does again.
    case unanswered(String)
    case answeredAgain
}

/// Reads what one cloud says about this machine.
package struct NoticeReader: Sendable {
    /// What a machine has when the notice gives no time, or one that this machine's clock cannot mean.
    private enum Lead {
        static let spot: Int64 = 120
        /// Without a lifecycle hook an Auto Scaling group does not wait at all; with one, an hour by default.
        static let lifecycle: Int64 = 120
        static let preempted: Int64 = 30
        static let maintenance: Int64 = 60
        static let azurePreempt: Int64 = 30
        static let azureTerminate: Int64 = 300
    }
    /// Notices come minutes ahead; a longer time is a wrong clock's, here or there.
    private static let longestLead: Int64 = 3_600

    package let cloud: Cloud
    private var end: EndNotice?
    private var caution: String?
    private var isAnswered = true
    private var ownName: String?
    /// When the service last said that nothing is to come: what comes then came later.
    private var quietSince: Instant?
    /// Time between two looks: a notice without a time is at most so old.
    private let interval: Duration

    /// - Parameter interval: time between two rounds while the service answers.
    package init(cloud: Cloud, interval: Duration) {
        self.cloud = cloud
        self.interval = interval
    }

    /// What to ask in the next round, in this order.
    package var questions: [MetadataQuestion] {
        MetadataQuestion.allCases.filter { $0.cloud == cloud && ($0 != .ownName || ownName == nil) }
    }

    /// Takes the answers of one round; a failure is of the network or of the service. Returns what is new, in order.
    package mutating func take(
        _ answers: [(question: MetadataQuestion, answer: Result<MetadataAnswer, MetadataError>)], at now: ReadingTime
    ) -> [NoticeChange] {
        var found = Findings()
        for (question, answer) in answers where question.cloud == cloud {
            do throws(MetadataError) {
                try read(question, try answer.get(), at: now, into: &found)
            } catch {
                found.error = found.error ?? error
            }
        }
        var changes: [NoticeChange] = []
        note(found.error, into: &changes)
        if let next = found.end, end.map({ next.deadline + Self.earlier < $0.deadline }) ?? true {
            end = next
            changes.append(.ends(next))
        }
        // What could not be asked for says nothing: a caution stays until it is known to be gone.
        if found.caution != caution, found.caution != nil || found.error == nil {
            caution = found.caution
            changes.append(found.caution.map { .caution($0) } ?? .cautionWithdrawn)
        }
        if found.end == nil, found.error == nil { quietSince = now.instant }
        return changes
    }

    /// An end that comes so much earlier is told again; the two clocks do not agree to the second.
    private static let earlier = Duration.seconds(2)

    private struct Findings {
        var end: EndNotice?
        var caution: String?
        var error: MetadataError?

        mutating func add(_ notice: EndNotice) {
            if end.map({ notice.deadline < $0.deadline }) ?? true { end = notice }
        }
    }

    private mutating func note(_ error: MetadataError?, into changes: inout [NoticeChange]) {
        guard (error == nil) != isAnswered else { return }
        isAnswered = error == nil
        changes.append(error.map { .unanswered($0.text) } ?? .answeredAgain)
    }

    // MARK: Answers

    private mutating func read(
        _ question: MetadataQuestion, _ answer: MetadataAnswer, at now: ReadingTime, into found: inout Findings
    ) throws(MetadataError) {
        // EC2 has no such page while there is nothing to say; the others always have theirs.
        if answer.status == 404, cloud == .ec2 { return }
        guard answer.status == 200 else {
            throw MetadataError("the metadata service answered \(answer.status) to \(question.path)")
        }
        switch question {
        case .spotAction: try readSpotAction(answer, at: now, into: &found)
        case .rebalance: try readRebalance(answer, into: &found)
        case .lifecycleState:
            if answer.text == "Terminated" {
                found.add(notice("EC2 Auto Scaling terminates this instance", lead: Lead.lifecycle, at: now))
            }
        case .preempted:
            if answer.text == "TRUE" { found.add(notice("GCP preemption", lead: Lead.preempted, at: now)) }
        case .maintenanceEvent:
            // A migration is a pause of a second or so.
            if answer.text == "TERMINATE_ON_HOST_MAINTENANCE" {
                found.add(notice("GCP host maintenance", lead: Lead.maintenance, at: now))
            }
        case .ownName:
            let name = answer.text
            guard !name.isEmpty, name.utf8.count <= Limits.memberLabelByteCount * 4 else {
                throw MetadataError("the metadata service gave no name of this machine")
            }
            ownName = name
        case .scheduledEvents: try readEvents(answer, at: now, into: &found)
        }
    }

    private struct SpotAction: Decodable {
        let action: String
        let time: String
    }

    private func readSpotAction(
        _ answer: MetadataAnswer, at now: ReadingTime, into found: inout Findings
    ) throws(MetadataError) {
        let action: SpotAction = try Self.decode(answer, .spotAction)
        guard let time = WallTime(action.time) else {
            throw MetadataError("a spot interruption at \"\(MetadataLimits.shown(action.time))\", which is no time")
        }
        let what: String
        switch action.action {
        case "terminate": what = "EC2 spot interruption"
        case "stop", "hibernate": what = "EC2 spot interruption (\(action.action))"
        default: what = "EC2 spot interruption (\(MetadataLimits.shown(action.action)))"
        }
        found.add(notice(what, at: time, lead: Lead.spot, now))
    }

    private struct Rebalance: Decodable {
        let noticeTime: String
    }

    private func readRebalance(_ answer: MetadataAnswer, into found: inout Findings) throws(MetadataError) {
        let recommendation: Rebalance = try Self.decode(answer, .rebalance)
        let since = WallTime(recommendation.noticeTime).map { " at \($0.clock)" } ?? ""
        found.caution = "EC2 rebalance recommendation" + since
    }

    // MARK: Azure

    private struct Document: Decodable {
        let events: [Event]

        enum CodingKeys: String, CodingKey { case events = "Events" }
    }

    private struct Event: Decodable {
        let type: String
        let resources: [String]?
        let status: String?
        let notBefore: String?

        enum CodingKeys: String, CodingKey {
            case type = "EventType"
            case resources = "Resources"
            case status = "EventStatus"
            case notBefore = "NotBefore"
        }
    }

    private func readEvents(
        _ answer: MetadataAnswer, at now: ReadingTime, into found: inout Findings
    ) throws(MetadataError) {
        let document: Document = try Self.decode(answer, .scheduledEvents)
        // Of which machine an event speaks cannot be told without a name: none is taken for this one's.
        guard let ownName else { return }
        for event in document.events.prefix(MetadataLimits.eventCount) {
            guard event.resources?.contains(where: { $0.lowercased() == ownName.lowercased() }) ?? false,
                event.status != "Completed", event.status != "Canceled"
            else { continue }
            // Empty once it has begun.
            let time = (event.notBefore ?? "").isEmpty ? nil : WallTime(event.notBefore ?? "")
            switch event.type {
            case "Preempt": found.add(azure("Azure preemption", at: time, lead: Lead.azurePreempt, now))
            case "Terminate": found.add(azure("Azure termination", at: time, lead: Lead.azureTerminate, now))
            case "Reboot", "Redeploy":
                // The machine comes back; when it goes down the system sends SIGTERM.
                let when = time.map { " at \($0.clock)" } ?? ""
                found.caution = "Azure \(event.type.lowercased())" + when
            // A pause of seconds, or what a later version of the service knows.
            default: continue
            }
        }
    }

    private func azure(_ what: String, at time: WallTime?, lead: Int64, _ now: ReadingTime) -> EndNotice {
        time.map { notice(what, at: $0, lead: lead, now) } ?? notice(what, lead: lead, at: now)
    }

    // MARK: Deadlines

    /// A notice with the time of the end.
    private func notice(_ what: String, at time: WallTime, lead: Int64, _ now: ReadingTime) -> EndNotice {
        let (left, overflow) = time.seconds.subtractingReportingOverflow(now.wall.seconds)
        let reason = what + " at \(time.clock)"
        // A machine that reads this is not gone yet: its clock is wrong.
        guard !overflow, (1...Self.longestLead).contains(left) else {
            return EndNotice(reason: reason, deadline: appearance(lead, now) + .seconds(lead))
        }
        return EndNotice(reason: reason, deadline: now.instant + .seconds(left))
    }

    /// A notice that gives no time.
    private func notice(_ what: String, lead: Int64, at now: ReadingTime) -> EndNotice {
        let deadline = appearance(lead, now) + .seconds(lead)
        let at = WallTime(seconds: now.wall.seconds + Int64(max(0, (deadline - now.instant).inSeconds)))
        return EndNotice(reason: what + " at \(at.clock)", deadline: deadline)
    }

    /// When a notice that was just seen may have come: since the last look, unless that is long ago.
    private func appearance(_ lead: Int64, _ now: ReadingTime) -> Instant {
        guard let quietSince else { return now.instant }
        return max(quietSince, now.instant - min(interval, .seconds(lead) / 2))
    }

    private static func decode<Value: Decodable>(
        _ answer: MetadataAnswer, _ question: MetadataQuestion
    ) throws(MetadataError) -> Value {
        guard answer.body.count <= MetadataLimits.answerByteCount,
            let value = try? JSONDecoder().decode(Value.self, from: Data(answer.body))
        else {
            throw MetadataError(
                "the metadata service's answer to \(question.path) is not understood: "
                    + MetadataLimits.shown(String(decoding: answer.body.prefix(400), as: UTF8.self)))
        }
        return value
    }
}
