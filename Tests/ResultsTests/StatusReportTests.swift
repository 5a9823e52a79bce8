import Results
import Testing
import Wire

@Suite struct StatusReportTests {
    static var response: Ocr_V1_StatusResponse {
        var response = Ocr_V1_StatusResponse()
        response.answeredBy = "0a"
        response.cluster.name = "scans"
        response.cluster.nodesAlive = 1
        response.cluster.nodesTotal = 1
        response.cluster.shards = 1_024
        response.cluster.replicas = 1
        response.work.pending = 3_400_000
        response.work.running = 2
        response.work.done = 1_200_000
        response.work.failed = 7
        response.work.cancelled = 0
        response.work.total = 4_600_009
        response.work.jobsPerSecond = 12.34
        response.work.etaSeconds = 275_526
        response.work.complete = true
        var batch = Ocr_V1_BatchStatus()
        batch.name = "letters\u{1B}[2J"
        batch.done = 5
        batch.total = 5
        response.batches = [batch]
        var node = Ocr_V1_NodeStatus()
        node.id = "0a"
        node.name = "box"
        node.state = "alive"
        node.workers = 2
        node.busy = 1
        node.rssBytes = 91 << 20
        node.uptimeSeconds = 3_700
        node.sandbox = "seccomp+landlock"
        var slot = Ocr_V1_SlotStatus()
        slot.slot = 1
        slot.state = "busy"
        slot.source = .init("/scans/a.png".utf8)
        slot.runningSeconds = 1.5
        slot.language = "deu"
        node.slots = [slot]
        response.nodes = [node]
        return response
    }

    @Test func `the screen shows work, batches, nodes and slots`() {
        #expect(
            StatusReport(Self.response).screen(width: 110) == """
                scans: 1 of 1 nodes alive, 1,024 shards × 1
                3,400,000 pending, 2 running, 1,200,000 done, 7 failed, 0 cancelled, 4,600,009 in all
                [##########------------------------------] 26.0 %  12.3 jobs/s  3 d 4 h left

                BATCH        PENDING  RUNNING  DONE  FAILED  CANCELLED  TOTAL
                letters\u{FFFD}[2J        –        –     5       –          –      5

                NODE  ADDRESS  STATE  BUSY  PENDING  DONE  FAILED  JOBS/S  AGE  BOOT
                box            alive   1/2        –     –       –       –    –     –
                memory 91 MiB, up 1 h 1 min, sandbox seccomp+landlock

                SLOT  STATE  DONE  FOR  LANGUAGE  SOURCE
                   1  busy      –  2 s  deu       /scans/a.png

                """)
    }

    @Test func `no line of the screen is wider than the terminal`() {
        for width in [20, 40, 80] {
            let lines = StatusReport(Self.response).screen(width: width).split(separator: "\n")
            #expect(lines.allSatisfy { $0.count <= width })
        }
    }

    @Test func `what is not known is null, never 0`() {
        let json = StatusReport(Self.response).json.line
        #expect(json.contains(#""jobs_per_second":12.34,"eta_seconds":275526.0,"duplicates":null,"divergent":null"#))
        #expect(json.contains(#""stolen_in":null"#))
        #expect(json.contains(#""name":"letters\u001b[2J","pending":null,"running":null,"done":5"#))
    }

    @Test func `a bar is full only when all is finished`() {
        #expect(ProgressText.bar(finished: 9_999_999, total: 10_000_000, width: 10) == "[#########-] 99.9 %")
        #expect(ProgressText.bar(finished: 5, total: 5, width: 10) == "[##########] 100.0 %")
        #expect(ProgressText.bar(finished: 0, total: 0, width: 10) == "")
    }

    @Test func `durations, counts and sizes read well`() {
        #expect(
            [0, 0.4, 59.6, 61, 7_260, 90_000].map { HumanText.duration($0) } == [
                "0 s", "< 1 s", "1 min 0 s", "1 min 1 s", "2 h 1 min", "1 d 1 h",
            ])
        #expect([.nan, -1, .infinity, 1e300, nil].allSatisfy { HumanText.duration($0) == "–" })
        #expect([0, 999, 1_000, 1_234_567].map { HumanText.count($0) } == ["0", "999", "1,000", "1,234,567"])
        #expect(HumanText.rate(1e300) == "–")
        #expect(
            [0, 0.00013, 0.5, 1, 12.345, 1_234.5].map { HumanText.amount($0) } == [
                "0.0000", "0.0001", "0.5000", "1.00", "12.35", "1,235",
            ])
    }
}
