// What this node has to do, from what a metadata service says and the time; no socket, no clock.

import CloudMetadata
import ClusterModel
import Testing

/// A reader at 12:00:00 of some day, and an hour on its monotonic clock.
private struct Reading {
    static let noon: Int64 = 1_700_049_600

    var reader: NoticeReader
    /// Seconds since noon.
    var seconds: Int64 = 0

    init(_ cloud: Cloud) { reader = NoticeReader(cloud: cloud, interval: .seconds(5)) }

    static func instant(_ seconds: Int64) -> Instant { Instant(nanoseconds: (3_600 + seconds) * 1_000_000_000) }

    /// One round; what is not answered is 404.
    mutating func take(_ answers: [MetadataQuestion: MetadataAnswer], clockError: Int64 = 0) -> [NoticeChange] {
        let all = reader.questions.map { question in
            (
                question,
                Result<MetadataAnswer, MetadataError>.success(answers[question] ?? MetadataAnswer(status: 404, ""))
            )
        }
        let wall = WallTime(seconds: Self.noon + seconds + clockError)
        return reader.take(all, at: ReadingTime(instant: Self.instant(seconds), wall: wall))
    }

    mutating func fail() -> [NoticeChange] {
        reader.take(
            [(reader.questions[0], .failure(MetadataError("no connection")))],
            at: ReadingTime(instant: Self.instant(seconds), wall: WallTime(seconds: Self.noon + seconds)))
    }
}

private func ok(_ text: String) -> MetadataAnswer { MetadataAnswer(status: 200, text) }

extension [NoticeChange] {
    /// The only change, an end: its reason and the seconds after noon at which the machine is gone.
    fileprivate var end: (reason: String, at: Int64)? {
        guard count == 1, case .ends(let notice) = self[0] else { return nil }
        return (notice.reason, (notice.deadline - Reading.instant(0)).nanoseconds / 1_000_000_000)
    }
}

@Suite struct EC2NoticeTests {
    private static let action = #"{"action": "terminate", "time": "2023-11-15T12:02:00Z"}"#

    @Test func `with nothing announced nothing happens, and all three pages are asked for each time`() {
        var reading = Reading(.ec2)
        #expect(reading.reader.questions == [.spotAction, .rebalance, .lifecycleState])
        for second in stride(from: Int64(0), to: 60, by: 5) {
            reading.seconds = second
            #expect(reading.take([.lifecycleState: ok("InService")]).isEmpty)
        }
    }

    @Test func `a spot interruption is told once, with its time`() throws {
        var reading = Reading(.ec2)
        #expect(reading.take([:]).isEmpty)
        reading.seconds = 5
        let end = try #require(reading.take([.spotAction: ok(Self.action)]).end)
        #expect(end == ("EC2 spot interruption at 12:02:00", 120))
        for second in Int64(6)...100 {
            reading.seconds = second
            #expect(reading.take([.spotAction: ok(Self.action)]).isEmpty)
        }
        // Neither is it taken back.
        #expect(reading.take([:]).isEmpty)
    }

    @Test func `an earlier end that is announced later is told too, a later one is not`() throws {
        var reading = Reading(.ec2)
        _ = reading.take([.spotAction: ok(Self.action)])
        reading.seconds = 10
        #expect(reading.take([.spotAction: ok(Self.action), .lifecycleState: ok("Terminated")]).isEmpty)
        let earlier = #"{"action": "stop", "time": "2023-11-15T12:01:00Z"}"#
        #expect(
            try #require(reading.take([.spotAction: ok(earlier)]).end) == (
                "EC2 spot interruption (stop) at 12:01:00", 60
            ))
    }

    @Test(arguments: [-86_400, 200, 34_560_000] as [Int64])
    func `with a clock that is wrong the machine is taken to have the usual two minutes from the notice on`(
        error: Int64
    ) throws {
        var reading = Reading(.ec2)
        _ = reading.take([:], clockError: error)
        reading.seconds = 5
        // It may have come right after the last look.
        let end = try #require(reading.take([.spotAction: ok(Self.action)], clockError: error).end)
        #expect(end.at == 120)
    }

    @Test(arguments: ["hibernate", "stop"]) func `other interruptions are named`(action: String) throws {
        var reading = Reading(.ec2)
        let answer = ok(#"{"action":"\#(action)","time":"2023-11-15T12:02:00Z","more":[1]}"#)
        #expect(
            try #require(reading.take([.spotAction: answer]).end).reason
                == "EC2 spot interruption (\(action)) at 12:02:00")
    }

    @Test func `termination by an Auto Scaling group, which gives no time, is taken as two minutes`() throws {
        var reading = Reading(.ec2)
        #expect(reading.take([.lifecycleState: ok("InService\n")]).isEmpty)
        reading.seconds = 5
        #expect(
            try #require(reading.take([.lifecycleState: ok("Terminated\n")]).end)
                == ("EC2 Auto Scaling terminates this instance at 12:02:00", 120))
        reading.seconds = 10
        #expect(reading.take([.lifecycleState: ok("Terminated")]).isEmpty)
    }

    @Test(arguments: ["InService", "Standby", "Detached", "Warmed:Stopped", "Terminated?", ""])
    func `other states of the group do nothing`(state: String) {
        var reading = Reading(.ec2)
        #expect(reading.take([.lifecycleState: ok(state)]).isEmpty)
    }

    @Test func `a rebalance recommendation is a caution until it is gone`() {
        var reading = Reading(.ec2)
        let answer = ok(#"{"noticeTime": "2023-11-15T11:59:58Z"}"#)
        let text = "EC2 rebalance recommendation at 11:59:58"
        #expect(reading.take([.rebalance: answer]) == [.caution(text)])
        #expect(reading.take([.rebalance: answer]).isEmpty)
        // Not known is not gone.
        #expect(reading.fail() == [.unanswered("no connection")])
        #expect(reading.fail().isEmpty)
        #expect(reading.take([.rebalance: answer]) == [.answeredAgain])
        #expect(reading.take([:]) == [.cautionWithdrawn])
        #expect(reading.take([:]).isEmpty)
    }

    @Test(arguments: [
        "", "null", "[]", "{}", "terminate", #"{"action":1,"time":2}"#, #"{"action":"terminate"}"#,
        #"{"action":"terminate","time":"soon"}"#, String(repeating: "[", count: 100_000), "\u{0}\u{FFFD}",
        String(repeating: #"{"action":"#, count: 50_000),
    ])
    func `an answer that makes no sense is said once and drains nothing`(body: String) {
        var reading = Reading(.ec2)
        let changes = reading.take([.spotAction: ok(body)])
        #expect(changes.count == 1)
        guard case .unanswered(let text)? = changes.first else { return #expect(Bool(false), "\(changes)") }
        #expect(text.count < 250)
        #expect(reading.take([.spotAction: ok(body)]).isEmpty)
        #expect(reading.take([:]) == [.answeredAgain])
    }

    @Test func `a service that fails for one page is still heard on the others`() throws {
        var reading = Reading(.ec2)
        let changes = reading.take([
            .spotAction: MetadataAnswer(status: 500, ""), .lifecycleState: ok("Terminated"),
        ])
        #expect(changes.count == 2)
        #expect(
            changes.first
                == .unanswered("the metadata service answered 500 to /latest/meta-data/spot/instance-action"))
        #expect(Array(changes.dropFirst()).end != nil)
    }
}

@Suite struct GCPNoticeTests {
    private static let quiet: [MetadataQuestion: MetadataAnswer] = [
        .preempted: ok("FALSE"), .maintenanceEvent: ok("NONE"),
    ]

    @Test func `a preemption leaves 30 s from the last look at which there was none`() throws {
        var reading = Reading(.gcp)
        #expect(reading.take(Self.quiet).isEmpty)
        reading.seconds = 4
        let end = try #require(reading.take([.preempted: ok("TRUE"), .maintenanceEvent: ok("NONE")]).end)
        #expect(end == ("GCP preemption at 12:00:30", 30))
        reading.seconds = 9
        #expect(reading.take([.preempted: ok("TRUE"), .maintenanceEvent: ok("NONE")]).isEmpty)
    }

    @Test func `when the last look was long ago the notice is no older than one interval`() throws {
        var reading = Reading(.gcp)
        #expect(reading.take(Self.quiet).isEmpty)
        reading.seconds = 600
        let end = try #require(reading.take([.preempted: ok("TRUE"), .maintenanceEvent: ok("NONE")]).end)
        #expect(end.at == 600 - 5 + 30)
    }

    @Test func `of the host's maintenance only termination ends the machine`() throws {
        var reading = Reading(.gcp)
        #expect(reading.take([.preempted: ok("FALSE"), .maintenanceEvent: ok("MIGRATE_ON_HOST_MAINTENANCE")]).isEmpty)
        let answers =
            [.preempted: ok("FALSE"), .maintenanceEvent: ok("TERMINATE_ON_HOST_MAINTENANCE")]
            as [MetadataQuestion: MetadataAnswer]
        reading.seconds = 1
        #expect(try #require(reading.take(answers).end) == ("GCP host maintenance at 12:01:00", 60))
    }

    @Test func `a page that is missing is an error here: it always exists`() {
        var reading = Reading(.gcp)
        #expect(
            reading.take([.maintenanceEvent: ok("NONE")])
                == [.unanswered("the metadata service answered 404 to /computeMetadata/v1/instance/preempted")])
    }
}

@Suite struct AzureNoticeTests {
    private static func events(_ events: String...) -> MetadataAnswer {
        ok(#"{"DocumentIncarnation": 2, "Events": [\#(events.joined(separator: ","))]}"#)
    }

    private static func event(
        _ type: String, of machine: String = "ocr-7", at time: String = "Wed, 15 Nov 2023 12:00:40 GMT",
        status: String = "Scheduled"
    ) -> String {
        """
        {"EventId": "602d9444-d2cd-49c7-8624-8643e7171297", "EventType": "\(type)", "ResourceType": "VirtualMachine",
         "Resources": ["other-1", "\(machine)"], "EventStatus": "\(status)", "NotBefore": "\(time)",
         "Description": "x", "EventSource": "Platform", "DurationInSeconds": -1}
        """
    }

    private func take(_ reading: inout Reading, _ events: MetadataAnswer) -> [NoticeChange] {
        reading.take([.ownName: ok("OCR-7"), .scheduledEvents: events])
    }

    @Test func `the machine's own name is asked for once`() {
        var reading = Reading(.azure)
        #expect(reading.reader.questions == [.ownName, .scheduledEvents])
        #expect(take(&reading, Self.events()).isEmpty)
        #expect(reading.reader.questions == [.scheduledEvents])
    }

    @Test(arguments: [("Preempt", "Azure preemption"), ("Terminate", "Azure termination")])
    func `preemption and termination end this machine`(type: String, name: String) throws {
        var reading = Reading(.azure)
        #expect(try #require(take(&reading, Self.events(Self.event(type))).end) == ("\(name) at 12:00:40", 40))
        #expect(take(&reading, Self.events(Self.event(type))).isEmpty)
    }

    @Test func `an event that has begun has no time any more`() throws {
        var reading = Reading(.azure)
        let begun = Self.event("Preempt", at: "", status: "Started")
        #expect(try #require(take(&reading, Self.events(begun)).end) == ("Azure preemption at 12:00:30", 30))
    }

    @Test func `what happens to other machines, is over, or is only a pause, does nothing`() {
        var reading = Reading(.azure)
        let events = Self.events(
            Self.event("Preempt", of: "ocr-70"), Self.event("Terminate", status: "Completed"),
            Self.event("Preempt", status: "Canceled"), Self.event("Freeze"), Self.event("Party"))
        #expect(take(&reading, events).isEmpty)
    }

    @Test func `of a machine whose name is not known no event is taken for its own`() {
        var reading = Reading(.azure)
        let changes = reading.take([.scheduledEvents: Self.events(Self.event("Preempt"))])
        #expect(changes.count == 1)
        guard case .unanswered? = changes.first else { return #expect(Bool(false), "\(changes)") }
    }

    @Test(arguments: ["Reboot", "Redeploy"])
    func `a reboot is a caution: the machine comes back, and SIGTERM comes before it goes`(type: String) {
        var reading = Reading(.azure)
        #expect(take(&reading, Self.events(Self.event(type))) == [.caution("Azure \(type.lowercased()) at 12:00:40")])
        #expect(take(&reading, Self.events()) == [.cautionWithdrawn])
    }
}

@Suite struct PaceTests {
    @Test func `looks are as far apart as configured, and after failures up to 30 s, not all at the same moment`() {
        var pace = PollPace(interval: .seconds(5), seed: 1)
        #expect(pace.wait(afterFailure: false) == .seconds(5))
        var waits: [Duration] = []
        for _ in 0..<20 { waits.append(pace.wait(afterFailure: true)) }
        #expect(waits[0] >= .seconds(5) && waits[0] <= .seconds(10))
        #expect(waits.allSatisfy { $0 <= .seconds(30) })
        #expect(waits.suffix(10).allSatisfy { $0 >= .seconds(15) })
        #expect(Set(waits).count > 15)
        var other = PollPace(interval: .seconds(5), seed: 2)
        #expect(other.wait(afterFailure: true) != waits[0])
        #expect(pace.wait(afterFailure: false) == .seconds(5))
    }

    @Test func `an interval above 30 s is kept`() {
        var pace = PollPace(interval: .seconds(60), seed: 1)
        for _ in 0..<5 { #expect(pace.wait(afterFailure: true) <= .seconds(60)) }
    }
}
