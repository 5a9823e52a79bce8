// Machines that their cloud takes away: real nodes, and metadata services on loopback that announce it.

import CloudMetadata
import ClusterConfiguration
import Foundation
import Glibc
import MetadataFixture
import NodeRuntime
import Testing

@testable import node

/// A machine's metadata service.
private final class Announcer: Sendable {
    let metadata: FakeMetadata
    let service: FakeService
    private let cloud: Cloud

    init(_ cloud: Cloud) async throws {
        self.cloud = cloud
        switch cloud {
        case .ec2: metadata = FakeMetadata(.ec2)
        case .gcp:
            metadata = FakeMetadata(.gcp)
            metadata.set("/computeMetadata/v1/instance/preempted", "FALSE")
            metadata.set("/computeMetadata/v1/instance/maintenance-event", "NONE")
        case .azure:
            metadata = FakeMetadata(.azure)
            metadata.set("/metadata/instance/compute/name", "machine")
            metadata.set("/metadata/scheduledevents", #"{"DocumentIncarnation":1,"Events":[]}"#)
        }
        service = try await FakeService(metadata.answer)
    }

    /// The table [cloud] of its node.
    var configuration: String {
        """
        [cloud]
        provider = "\(cloud.rawValue)"
        metadata_endpoint = "\(service.endpoint)"
        poll = "100ms"
        margin = "2s"

        """
    }

    /// EC2 says 120 s, the others 30 s.
    func announceEnd() {
        switch cloud {
        case .ec2:
            let time = Date(timeIntervalSinceNow: 120).formatted(.iso8601)
            metadata.set("/latest/meta-data/spot/instance-action", #"{"action":"terminate","time":"\#(time)"}"#)
        case .gcp: metadata.set("/computeMetadata/v1/instance/preempted", "TRUE")
        case .azure:
            metadata.set(
                "/metadata/scheduledevents",
                #"{"Events":[{"EventType":"Preempt","Resources":["machine"],"EventStatus":"Started","NotBefore":""}]}"#)
        }
    }

    var seconds: Double { cloud == .ec2 ? 120 : 30 }
}

@Suite(.serialized)
struct PreemptionTests {
    private static func own(_ node: RunningNode) -> [String: Any] {
        RunningCluster.members(node.command("status", "--json")).first {
            $0["data_dir"] as? String == node.dataDirectory
        } ?? [:]
    }

    @Test func `three of five machines are taken at once, the seed included: all is done, nothing fails`()
        async throws
    {
        let pages = Places.isLong ? 3_000 : 150
        let cluster = try RunningCluster()
        let announcers = try await [Announcer(.ec2), Announcer(.gcp), Announcer(.azure)]
        for (index, name) in ["a", "b", "c", "d", "e"].enumerated() {
            try cluster.add(name, configuration: index < announcers.count ? announcers[index].configuration : "")
        }
        let (taken, staying) = (cluster.nodes[..<3], cluster.nodes[3...])
        let everybody = ["a": "alive", "b": "alive", "c": "alive", "d": "alive", "e": "alive"]
        for node in cluster.nodes {
            try node.wait("all are alive, and agree about who holds what", seconds: 120) {
                let status = node.command("status", "--json").json
                return RunningCluster.states(node) == everybody
                    && (status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 0
            }
        }
        let folder = cluster.directory + "/pages"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for page in 0..<pages {
            try FileManager.default.copyItem(
                atPath: Places.repository + "/Samples/zxx_blank.tif", toPath: folder + "/page-\(page).tif")
        }
        let observer = cluster.nodes[4]
        #expect(observer.command("submit", folder, "--batch", "w").exitCode == 0)
        try observer.wait("some of it is done", seconds: 60) {
            let work = observer.command("status", "--json").json["work"] as? [String: Any]
            return work?["done"] as? Int ?? 0 > 0
        }
        let start = ContinuousClock.now
        for announcer in announcers { announcer.announceEnd() }
        var ends: [String] = []
        for (node, announcer) in zip(taken, announcers) {
            #expect(node.exitCode() == 0, "\(node.log)")
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            ends.append(String(format: "%.1f s of %.0f s", seconds, announcer.seconds))
            #expect(seconds < announcer.seconds, "\(node.log)")
            #expect(node.log.contains("drain: safe"), "\(node.log)")
        }
        print("preempted: \(ends.joined(separator: ", "))")
        #expect(taken[0].log.contains("draining within") && taken[0].log.contains("EC2 spot interruption at "))
        #expect(taken[1].log.contains("GCP preemption at "))
        #expect(taken[2].log.contains("Azure preemption at "))
        // Their disks are gone with them.
        for node in taken { try FileManager.default.removeItem(atPath: node.dataDirectory) }
        #expect(observer.command("wait", "--batch", "w", "--timeout", "300s").exitCode == 0)
        for node in staying {
            try node.wait("the three have left", seconds: 60) {
                RunningCluster.states(node) == ["a": "left", "b": "left", "c": "left", "d": "alive", "e": "alive"]
            }
            let work = node.command("status", "--json").json["work"] as? [String: Any]
            #expect(work?["done"] as? Int == pages)
            #expect(work?["failed"] as? Int == 0)
            #expect(work?["complete"] as? Bool == true)
        }
        let lines = observer.command("export", "--batch", "w", "--format", "jsonl").lines
        #expect(lines.count == pages)
        #expect(Set(lines.compactMap { $0["source"] as? String }).count == pages)
        #expect(lines.allSatisfy { $0["outcome"] as? String == "done" })
    }

    @Test func `a recommendation stops stealing and is shown; an end is shown everywhere with its deadline and reason`()
        async throws
    {
        let cluster = try RunningCluster()
        let announcer = try await Announcer(.ec2)
        let one = "[cluster]\nreplicas = 1\n"
        try cluster.add("a", configuration: one)
        try cluster.add("b", configuration: one + announcer.configuration)
        try cluster.add("c", configuration: one)
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                let work = node.command("status", "--json").json["work"] as? [String: Any]
                return RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
                    && work?["complete"] as? Bool == true
            }
        }
        #expect(Self.own(b)["stealing"] as? Bool == true)
        #expect(Self.own(b)["cloud_notice"] is NSNull)
        let rebalance = "/latest/meta-data/events/recommendations/rebalance"
        announcer.metadata.set(rebalance, #"{"noticeTime": "2023-11-15T11:59:58Z"}"#)
        let text = "EC2 rebalance recommendation at 11:59:58"
        try c.wait("c sees that b steals no more", seconds: 60) {
            let row = RunningCluster.members(c.command("status", "--json")).first { $0["name"] as? String == "b" }
            return row?["stealing"] as? Bool == false && row?["cloud_notice"] as? String == text
        }
        #expect(b.command("status").output.contains(text))
        #expect(RunningCluster.states(c)["b"] == "alive")
        announcer.metadata.set(rebalance, nil)
        try b.wait("b steals again", seconds: 60) {
            Self.own(b)["stealing"] as? Bool == true && Self.own(b)["cloud_notice"] is NSNull
        }

        // Nobody takes what b has to give to a: a stands still.
        #expect(a.command("pause", "--cluster").exitCode == 0)
        try b.wait("the pause has come to b", seconds: 30) { Self.own(b)["paused"] as? Bool == true }
        let manifest = Places.repository + "/Samples/manifest.csv"
        #expect(c.command("submit", "--manifest", manifest, "--batch", "s").exitCode == 0)
        a.signal(SIGSTOP)
        announcer.announceEnd()
        try c.wait("c sees that b goes, when and why", seconds: 60) {
            let row = RunningCluster.members(c.command("status", "--json")).first { $0["name"] as? String == "b" }
            guard row?["state"] as? String == "draining", let left = row?["drain_deadline"] as? Double else {
                return false
            }
            return left > 0 && left <= 118
                && (row?["drain_reason"] as? String)?.hasPrefix("EC2 spot interruption at ") ?? false
        }
        // The machine goes then: somebody who gives it more time does not move that.
        b.command("drain", "--deadline", "1h", "--detach")
        #expect(Self.own(b)["drain_deadline"] as? Double ?? 0 <= 118)
        a.signal(SIGCONT)
        #expect(b.exitCode() == 0, "\(b.log)")
        try c.wait("b has left", seconds: 60) { RunningCluster.states(c)["b"] == "left" }
        try c.wait("nothing is lost", seconds: 60) {
            let work = c.command("status", "--json").json["work"] as? [String: Any]
            return work?["complete"] as? Bool == true && work?["pending"] as? Int == 7
        }
    }

    @Test func `a node alone ends as after SIGTERM; the doctor says what it would hear`() async throws {
        let announcer = try await Announcer(.gcp)
        let node = try RunningNode(workers: 1, configuration: announcer.configuration)
        func finding() -> [String: Any]? {
            let report = node.command("doctor", "--config", node.directory + "/test.conf", "--json").json
            return (report["findings"] as? [[String: Any]])?.first { $0["check"] as? String == "cloud" }
        }
        let quiet = finding()
        #expect(quiet?["verdict"] as? String == "ok")
        #expect(
            quiet?["message"] as? String
                == "GCP (configuration), \(announcer.service.endpoint) answers, and announces nothing")
        announcer.metadata.fail(FakeAnswer(503))
        #expect(finding()?["verdict"] as? String == "warn")
        try node.wait("the log says so, once", seconds: 30) {
            node.log.contains("no notice of the cloud would be heard")
        }
        announcer.metadata.fail(nil)
        try node.wait("and that it is over", seconds: 30) { node.log.contains("metadata service answers again") }
        announcer.announceEnd()
        #expect(node.exitCode() == 0, "\(node.log)")
        #expect(node.log.contains("stopping within"))
        #expect(node.log.ranges(of: "no notice of the cloud would be heard").count == 1)
    }
}

@Suite struct CloudOptionTests {
    private static let nowhere = MachineIdentity(directory: "/nonexistent/dmi")

    private func settings(_ text: String) throws -> NodeConfiguration.CloudService {
        try NodeConfiguration.parse(bytes: Array(text.utf8), path: "cluster.conf").cloud
    }

    @Test func `on no cloud there is nowhere to listen`() throws {
        let standard = try settings("")
        #expect(try RunOptions.cloud(standard, environment: [:], machine: Self.nowhere) == nil)
    }

    @Test func `a cloud that is named is listened to at its own address or at the one that is given`() throws {
        let named = try settings("[cloud]\nprovider = \"azure\"\npoll = \"1s\"\nmargin = \"3s\"\n")
        let found = try RunOptions.cloud(named, environment: [:], machine: Self.nowhere)
        #expect(
            found?.place == CloudPlace(cloud: .azure, endpoint: "http://169.254.169.254", evidence: "configuration"))
        #expect(found?.poll == .seconds(1) && found?.margin == .seconds(3))
        // The environment goes before the file.
        #expect(
            try RunOptions.cloud(named, environment: ["NODE_CLOUD_PROVIDER": "none"], machine: Self.nowhere) == nil)
        let elsewhere = try settings("[cloud]\nmetadata_endpoint = \"http://127.0.0.1:1\"\n")
        #expect(
            try RunOptions.cloud(elsewhere, environment: ["NODE_CLOUD_PROVIDER": "ec2"], machine: Self.nowhere)?.place
                .endpoint == "http://127.0.0.1:1")
    }

    @Test func `a drain keeps the margin, at most half of the time, and is over when the time is`() {
        let place = CloudPlace(cloud: .ec2, evidence: "test")
        let settings = CloudSettings(place: place, margin: .seconds(10))
        #expect(settings.deadline(within: .seconds(120)) == .seconds(110))
        #expect(settings.deadline(within: .seconds(14)) == .seconds(7))
        #expect(settings.deadline(within: .zero) == .zero)
        #expect(settings.deadline(within: .seconds(-5)) == .zero)
    }

    @Test func `an address without a cloud, and a cloud that nobody knows, are errors`() throws {
        let elsewhere = try settings("[cloud]\nmetadata_endpoint = \"http://127.0.0.1:1\"\n")
        let error = #expect(throws: CommandFailure.self) {
            try RunOptions.cloud(elsewhere, environment: [:], machine: Self.nowhere)
        }
        #expect(error?.exitCode == 78)
        #expect(throws: CommandFailure.self) {
            try RunOptions.cloud(settings(""), environment: ["NODE_CLOUD_PROVIDER": "ibm"], machine: Self.nowhere)
        }
    }
}
