// Addresses as people write them.

import ClusterModel
import Testing

@testable import Transport

@Suite struct HostAddressTests {
    @Test(arguments: [
        ("seed-1", "seed-1", 7400), ("seed-1.example.org:7500", "seed-1.example.org", 7500),
        ("10.0.0.5", "10.0.0.5", 7400), ("10.0.0.5:1", "10.0.0.5", 1), ("[2001:db8::7]:7401", "2001:db8::7", 7401),
        ("[::1]", "::1", 7400), ("2001:DB8:0::7", "2001:db8::7", 7400), ("::1", "::1", 7400),
        ("host_a:65535", "host_a", 65535),
    ]) func `a host and a port are read`(text: String, host: String, port: UInt16) throws {
        let address = try HostAddress(text)
        #expect(address.host == host && address.port == port)
        #expect(try HostAddress(address.description) == address)
    }

    @Test(arguments: [
        "", ":7400", "host:", "host:0", "host:65536", "host:74x0", "host:-1", "[::1", "[::1]7400", "[10.0.0.1]:7400",
        "a:b:c",
        "10.0.0.256", "10.1", "ho st", "http://host", "host/x", "höst", "[::1]:", String(repeating: "a", count: 254),
    ]) func `what is no address is refused with a hint`(text: String) {
        let failure = #expect(throws: TransportFailure.self) { try HostAddress(text) }
        #expect(failure?.kind == .invalidAddress)
        #expect(failure?.message.contains("is no address of a node") == true)
        #expect(failure?.hint.contains("10.0.0.5:7400") == true)
    }

    @Test func `localhost and numeric addresses have addresses`() async throws {
        let found = try await HostAddress("localhost:7411").resolve().get()
        #expect(!found.isEmpty && found.allSatisfy { $0.isLoopback && $0.port == 7411 })
        #expect(Set(found).count == found.count)
        #expect(try await HostAddress("[2001:db8::1]:1").resolve().get().map(\.description) == ["[2001:db8::1]:1"])
    }

    @Test func `an unknown host and a silent resolver are told`() async throws {
        // RFC 6761: "invalid" never exists. Without a name server the answer is another one, and a failure too.
        let unknown = await (try HostAddress("no-such-host.invalid")).resolve()
        let failure = #expect(throws: TransportFailure.self) { try unknown.get() }
        #expect(failure?.message.contains("no-such-host.invalid") == true)
        let impatient = await (try HostAddress("no-such-host.invalid")).resolve(timeout: .zero)
        #expect(throws: TransportFailure.self) { try impatient.get() }
    }

    @Test func `the address toward loopback is loopback`() {
        #expect(HostAddress.local(toward: Loopback.ipv4.with(port: 7400))?.host == "127.0.0.1")
        #expect(HostAddress.interfaces().allSatisfy { !$0.endpoint.isLoopback })
    }

    @Test func `nodes are told the address that is listened at, or one that leads to the seed`() throws {
        let fixed = Endpoint(ipv4: 0x0A00_0005, port: 7400)
        #expect(HostAddress.advertised(listen: fixed, toward: []).endpoint == fixed)
        let everywhere = Endpoint(ipv4: 0, port: 7433)
        let seed = Loopback.ipv4.with(port: 7400)
        let toward = HostAddress.advertised(listen: everywhere, toward: [seed])
        #expect(toward.endpoint == Loopback.ipv4.with(port: 7433))
        #expect(toward.alternatives == [])
        let alone = HostAddress.advertised(listen: everywhere, toward: [])
        #expect(alone.endpoint.port == 7433 && !alone.endpoint.isUnspecified && alone.endpoint.isIPv4)
    }

    @Test func `other interfaces are named as alternatives`() throws {
        let own = HostAddress.advertised(listen: Endpoint(ipv4: 0, port: 1), toward: []).endpoint.with(port: 0)
        guard !own.isLoopback else { return }
        let others = ["10.9.9.9", "2001:db8::9"].compactMap(HostAddress.numeric)
        let interfaces =
            [HostAddress.Interface(name: "eth0", endpoint: own)]
            + others.map { HostAddress.Interface(name: "eth1", endpoint: $0) }
        let told = HostAddress.advertised(listen: Endpoint(ipv4: 0, port: 1), toward: [], interfaces: interfaces)
        #expect(told.alternatives == ["eth1 10.9.9.9"])
    }
}
