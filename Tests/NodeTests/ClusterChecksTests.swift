// What the doctor says about key, port, seeds and datagrams.

import ClusterModel
import ClusterConfiguration
import Foundation
import Glibc
import Testing
import Wire

@testable import node

/// Seeds that answer as they are told to.
private struct ScriptedSeeds: SeedProbe {
    struct Unknown: Error, CustomStringConvertible { let description = "the name is not known" }

    let streams: [UInt16: ProbeAnswer]
    let datagrams: [UInt16: ProbeAnswer]

    /// "a:1,2" has two addresses, told apart by their ports.
    func addresses(of seed: String) async throws -> [Endpoint] {
        guard seed != "unknown" else { throw Unknown() }
        return seed.split(separator: ":")[1].split(separator: ",").compactMap { UInt16($0) }
            .map { Endpoint(ipv4: 0x0A00_0001, port: $0) }
    }
    func datagram(to endpoint: Endpoint) async -> ProbeAnswer { datagrams[endpoint.port] ?? .silent }
    func stream(to endpoint: Endpoint) async -> ProbeAnswer { streams[endpoint.port] ?? .silent }
}

@Suite struct ClusterChecksTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        let directory = NSTemporaryDirectory() + "doctor-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    @Test func `each seed is judged over TCP and UDP apart`() async {
        let fast = ProbeAnswer.answered(.milliseconds(3))
        let probe = ScriptedSeeds(
            streams: [1: fast, 2: fast, 4: .refused("the key is another one"), 5: fast, 7: .silent],
            datagrams: [1: fast, 3: fast, 5: fast])
        let findings = await ClusterChecks.seeds(
            ["a:1", "a:2", "a:3", "a:4", "a:5,6", "unknown", "a:7"], probe: probe)
        #expect(findings.map(\.verdict) == [.ok, .warn, .fail, .fail, .ok, .warn, .fail, .fail])
        #expect(findings[0].message == "a:1 (10.0.0.1:1) answers: TCP in 3 ms, UDP in 3 ms")
        #expect(findings[1].message == "a:2 (10.0.0.1:2): TCP answers, UDP does not")
        #expect(findings[1].cure == "allow UDP port 2 in the firewall or security group, in both directions")
        #expect(findings[2].message == "a:3 (10.0.0.1:3): UDP answers, TCP does not")
        #expect(findings[3].message == "a:4 (10.0.0.1:4): the key is another one")
        #expect(findings[6].message == "unknown: the name is not known")
        #expect(findings[7].message == "a:7 (10.0.0.1:7): neither TCP nor UDP answers")
    }

    @Test func `without a probe seeds are not spoken of`() async {
        #expect(await ClusterChecks.seeds(["a:1"], probe: nil).isEmpty)
    }

    @Test func `the key must be there, a secret and a key`() throws {
        try withDirectory { directory in
            var configuration = NodeConfiguration()
            func check() -> DoctorCommand.Finding { ClusterChecks.key(configuration, directory: directory) }
            #expect(check().verdict == .ok)
            configuration.cluster.seeds = ["10.0.0.1"]
            #expect(check().verdict == .fail)
            #expect(check().cure.contains("node keygen \(directory)/cluster.key"))
            let path = directory + "/cluster.key"
            let key = ClusterKey.random()
            try (key.text + "\n").write(toFile: path, atomically: true, encoding: .utf8)
            chmod(path, 0o640)
            #expect(check().verdict == .warn)
            #expect(check().message.contains("mode 640"))
            chmod(path, 0o600)
            #expect(check().verdict == .ok)
            #expect(check().message.contains(key.digest) && !check().message.contains(key.text))
            try "no key".write(toFile: path, atomically: false, encoding: .utf8)
            #expect(check().verdict == .fail)
            configuration.cluster.keyFile = directory
            #expect(check().message == "\(directory) is no file")
            configuration.cluster.keyFile = directory + "/other.key"
            #expect(check().message == "\(directory)/other.key is not there")
        }
    }

    @Test func `a port that another program holds is found, TCP and UDP apart`() throws {
        for (kind, type) in [("TCP", SOCK_STREAM), ("UDP", SOCK_DGRAM)] {
            let descriptor = socket(AF_INET, CInt(type.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    #expect(bind(descriptor, $0, length) == 0)
                    #expect(getsockname(descriptor, $0, &length) == 0)
                }
            }
            if type == SOCK_STREAM { #expect(Glibc.listen(descriptor, 1) == 0) }
            let text = "127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
            #expect(ClusterChecks.portState(text) == .taken(kind))
        }
        #expect(ClusterChecks.portState("[::1]:0") == .free || ClusterChecks.portState("127.0.0.1:0") == .free)
        guard case .unusable = ClusterChecks.portState("192.0.2.1:7400") else {
            Issue.record("an address of another machine was taken")
            return
        }
    }

    @Test func `where a node would listen follows from key and configuration`() throws {
        try withDirectory { directory in
            var configuration = NodeConfiguration()
            var asked: [String] = []
            func check(_ state: PortState, running: Ocr_V1_NodeStatus? = nil) -> DoctorCommand.Finding {
                ClusterChecks.listen(configuration, directory: directory, running: running) { address in
                    asked.append(address)
                    return state
                }
            }
            #expect(check(.free).message == "127.0.0.1:7400 is free, TCP and UDP")
            configuration.cluster.keyFile = "/etc/cluster.key"
            #expect(check(.taken("UDP")).message == "0.0.0.0:7400: another program holds the UDP port")
            configuration.listen.address = "10.0.0.5:7500"
            #expect(check(.unusable("no such address")).verdict == .fail)
            #expect(asked == ["127.0.0.1:7400", "0.0.0.0:7400", "10.0.0.5:7500"])
            var running = Ocr_V1_NodeStatus()
            running.address = "10.0.0.5:7600"
            #expect(check(.taken("TCP"), running: running).message == "held by the running node: 10.0.0.5:7600")
            #expect(asked.count == 3)
        }
    }

    @Test func `dropped and blocked datagrams are named with their cure`() {
        var status = Ocr_V1_StatusResponse()
        status.answeredBy = "1"
        var own = Ocr_V1_NodeStatus()
        own.id = "1"
        status.nodes = [own]
        #expect(ClusterChecks.datagrams(status).map(\.verdict) == [.ok])
        status.nodes[0].droppedDatagrams = ["wrong-key": 3, "replay": 1, "truncated": 0]
        var other = Ocr_V1_NodeStatus()
        other.name = "scan-2"
        other.address = "10.0.0.2:7400"
        other.datagramsBlocked = true
        status.nodes.append(other)
        let findings = ClusterChecks.datagrams(status)
        #expect(findings.map(\.verdict) == [.warn, .warn])
        #expect(findings[0].message == "dropped since the start: 3 wrong-key, 1 replay")
        #expect(findings[0].cure.contains("node keys list"))
        #expect(findings[1].message == "scan-2 (10.0.0.2:7400): TCP answers, UDP does not")
    }
}
