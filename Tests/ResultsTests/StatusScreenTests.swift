// The screen of a cluster: every state told apart, on any terminal, with any number of members.

import Results
import Testing
import Wire

@Suite struct StatusScreenTests {
    static func node(_ number: Int, _ state: String = "alive", pending: UInt64 = 0) -> Ocr_V1_NodeStatus {
        var node = Ocr_V1_NodeStatus()
        let digits = String(number, radix: 16)
        node.id = String(repeating: "0", count: 8 - digits.count) + digits
        node.name = "scan-\(number)"
        node.address = "10.0.0.\(number):7400"
        node.state = state
        node.boot = UInt64(number)
        node.workers = 8
        node.busy = UInt64(number % 9)
        node.pending = pending
        node.done = UInt64(1_000 * number)
        node.failed = 0
        node.jobsPerSecond = Double(number) / 2
        node.ageSeconds = 1
        return node
    }

    static func response(_ nodes: [Ocr_V1_NodeStatus]) -> Ocr_V1_StatusResponse {
        var response = Ocr_V1_StatusResponse()
        response.answeredBy = "00000001"
        response.cluster.name = "ocr"
        response.cluster.nodesAlive = UInt64(nodes.filter { $0.state == "alive" || $0.state == "draining" }.count)
        response.cluster.nodesTotal = UInt64(nodes.count)
        response.work.pending = 10
        response.work.complete = true
        response.nodes = nodes
        return response
    }

    /// All states, every note, and one member of which little is known.
    static var five: Ocr_V1_StatusResponse {
        var first = node(1, pending: 1_200)
        first.zone = "a"
        first.droppedDatagrams = ["replay": 1, "wrong-key": 1_203, "truncated": 0]
        first.ageSeconds = 0
        var second = node(2, "draining", pending: 40)
        second.zone = "b"
        second.drainDeadline = 42
        second.paused = true
        var third = node(3, "suspect")
        third.datagramsBlocked = true
        var fourth = Ocr_V1_NodeStatus()
        fourth.id = "00000004"
        fourth.name = "gone\u{1B}[31m"
        fourth.address = "10.0.0.4:7400"
        fourth.state = "dead"
        var response = response([node(5, "left"), fourth, third, second, first])
        response.cluster.shards = 1_024
        response.cluster.replicas = 3
        return response
    }

    static var sixty: Ocr_V1_StatusResponse {
        var nodes = (1...55).map { node($0, pending: UInt64($0 * 10)) }
        nodes += [node(56, "left"), node(57, "suspect"), node(58, "dead"), node(59, "draining"), node(60)]
        nodes[59].datagramsBlocked = true
        return response(nodes)
    }

    @Test func `five members in all states`() {
        #expect(
            StatusReport(Self.five).screen(width: 120) == """
                ocr: 2 of 5 nodes alive, 1 draining, 1 suspect, 1 dead, 1 left, 1,024 shards × 3
                10 pending, – running, – done, – failed, – cancelled, – in all
                PAUSED: 1 of 5 nodes: no work is taken until `node resume`

                NODE       ADDRESS        STATE     BUSY  PENDING   DONE  FAILED  JOBS/S  AGE  ZONE  BOOT  NOTES
                scan-1 *   10.0.0.1:7400  alive      1/8    1,200  1,000       0     0.5  0 s  a        1
                scan-2     10.0.0.2:7400  draining   2/8       40  2,000       0     1.0  1 s  b        2  paused, ends within 42 s
                scan-3     10.0.0.3:7400  SUSPECT    3/8        0  3,000       0     1.5  1 s  –        3  udp blocked
                gone\u{FFFD}[31m  10.0.0.4:7400  DEAD       –/–        –      –       –       –    –  –        –
                scan-5     10.0.0.5:7400  left       5/8        0  5,000       0     2.5  1 s  –        5
                dropped: 1,203 wrong-key, 1 replay

                """)
    }

    @Test func `sixty members: those with a problem first, the rest summed up`() {
        let lines = StatusReport(Self.sixty).screen(width: 120).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(
            lines.prefix(10).joined(separator: "\n") == """
                ocr: 57 of 60 nodes alive, 1 draining, 1 suspect, 1 dead, 1 left
                10 pending, – running, – done, – failed, – cancelled, – in all

                NODE     ADDRESS         STATE     BUSY  PENDING    DONE  FAILED  JOBS/S  AGE  BOOT  NOTES
                scan-57  10.0.0.57:7400  SUSPECT    3/8        0  57,000       0    28.5  1 s    57
                scan-58  10.0.0.58:7400  DEAD       4/8        0  58,000       0    29.0  1 s    58
                scan-60  10.0.0.60:7400  alive      6/8        0  60,000       0    30.0  1 s    60  udp blocked
                scan-59  10.0.0.59:7400  draining   5/8        0  59,000       0    29.5  1 s    59
                scan-55  10.0.0.55:7400  alive      1/8      550  55,000       0    27.5  1 s    55
                scan-54  10.0.0.54:7400  alive      0/8      540  54,000       0    27.0  1 s    54
                """)
        #expect(
            lines.dropFirst(43).joined(separator: "\n") == """
                scan-20  10.0.0.20:7400  alive      2/8      200  20,000       0    10.0  1 s    20
                and 20 more: 19 alive, 1 left; 73/152 busy, 1,900 pending

                """)
    }

    @Test func `the screen fits the terminal`() {
        var many = Self.sixty
        many.batches = (0..<50).map { number in
            var batch = Ocr_V1_BatchStatus()
            batch.name = "b\(number)"
            batch.pending = number == 49 ? 3 : 0
            return batch
        }
        for response in [Self.five, Self.sixty, many, StatusReportTests.response] {
            for (width, height) in [(80, 24), (40, 12), (200, 60), (20, 5), (120, 45)] {
                let screen = StatusReport(response).screen(ScreenSize(width: width, height: height), usesColor: false)
                let lines = screen.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                #expect(lines.count <= height)
                #expect(lines.allSatisfy { $0.count <= width })
            }
        }
        let small = StatusReport(many).screen(ScreenSize(width: 100, height: 24))
        #expect(small.contains("b49") && small.contains("and 44 more: node batches"))
        #expect(small.contains("SUSPECT") && small.contains("DEAD") && small.contains("udp blocked"))
    }

    @Test func `a narrow screen loses columns, never states and notes`() {
        let screen = StatusReport(Self.five).screen(width: 70)
        for word in ["SUSPECT", "DEAD", "left", "draining", "udp blocked", "paused, ends within 42 s"] {
            #expect(screen.contains(word), "\(word)")
        }
        #expect(!screen.contains("BOOT"))
    }

    @Test func `colour only repeats what the words say`() {
        let plain = StatusReport(Self.five).screen(width: 60)
        #expect(!plain.contains("\u{1B}"))
        let coloured = StatusReport(Self.five).screen(ScreenSize(width: 60), usesColor: true)
        #expect(coloured.contains("\u{1B}[31mgone\u{FFFD}[31m"))
        #expect(coloured.replacing(#/\u{1B}\[\d+m/#, with: "") == plain)
    }

    @Test func `what is reused, and what waits for images, is shown where it is known and matters`() {
        var response = Self.response([Self.node(1), Self.node(2)])
        response.work.done = 20
        response.work.reused = 3
        response.nodes[0].reused = 3
        response.nodes[0].waitingSeconds = 61
        response.nodes[0].waitingShare = 0.123
        response.nodes[1].waitingShare = 0.019
        let screen = StatusReport(response).screen(width: 200)
        #expect(screen.contains("20 done (3 reused), "))
        #expect(screen.contains("12.3 % waiting for images"))
        #expect(!screen.contains("1.9 %"))
        let detail = StatusReport(response).detail(width: 200)
        #expect(detail.contains("12.3 % of the slots' time in the last minute, 1 min 1 s since the start"))
        #expect(detail.contains("1,000 done (3 reused)"))
        let json = StatusReport(response).json.line
        #expect(json.contains(#""reused":3,"waiting_seconds":61.0,"waiting_share":0.123"#))
        #expect(json.contains(#""reused":null,"waiting_seconds":null,"waiting_share":0.019"#))
        #expect(json.contains(#""unreachable":null,"reused":3,"#))
        response.nodes = [response.nodes[1]]
        #expect(StatusReport(response).screen(width: 200).contains("waiting for images 1.9 %"))
    }

    @Test func `money is shown where a machine has a price`() {
        var response = Self.response([Self.node(1), Self.node(2)])
        #expect(!StatusReport(response).screen(width: 200).contains("$"))
        response.work.pending = 5
        (response.work.costSoFar, response.work.costPerHour) = (12.5, 0.9)
        (response.work.costToFinish, response.work.imagesPerDollar) = (0.25, 1_234.9)
        response.nodes[0].costPerHour = 0.45
        let screen = StatusReport(response).screen(width: 200)
        #expect(screen.contains("$12.50 so far, $0.9000 an hour, $0.2500 to finish, 1,234 images for a dollar\n"))
        let json = StatusReport(response).json.line
        #expect(json.contains(#""cost_per_hour":0.9,"cost_so_far":12.5,"cost_to_finish":0.25"#))
        #expect(json.contains(#""cost_per_hour":0.45,"cost_so_far":null"#))
    }

    @Test func `JSON has what is known, and null for the rest`() {
        let json = StatusReport(Self.five).json.line
        #expect(json.contains(#""dropped_datagrams":{"replay":1,"truncated":0,"wrong-key":1203}"#))
        #expect(json.contains(#""dropped_datagrams":null"#))
        #expect(json.contains(#""datagrams_blocked":true,"seconds_to_drain":null"#))
        #expect(json.contains(#""nodes_alive":2,"nodes_total":5"#))
        #expect(json.contains(#""drain_deadline":42.0"#))
        #expect(
            json.contains(
                #""state":"dead","boot":null,"incarnation":null,"age_seconds":null,"zone":null,"workers":null"#))
    }

    @Test func `the detail of a node says what is known of it`() {
        var response = Self.five
        response.nodes = response.nodes.filter { $0.name == "scan-2" }
        response.nodes[0].fetchedImages = 1_204
        response.nodes[0].fetchedBytes = 3 << 30
        #expect(
            StatusReport(response).detail(width: 100) == """
                name                scan-2
                id                  00000002
                address             10.0.0.2:7400
                state               draining, paused
                version             –
                boot                2
                incarnation         –
                latest news         1 s ago
                zone                b
                work                2 of 8 workers busy, 1.0 jobs/s
                jobs                40 pending, – running, 2,000 done, 0 failed
                images fetched      1,204, 3,072 MiB
                worked off in       –
                shards              – as primary, – held
                stolen              – in, – out
                leases              – given, – taken
                outbox              –
                suspicions refuted  –
                ends within         42 s

                """)
    }
}
