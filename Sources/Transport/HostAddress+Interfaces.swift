// Which of this machine's addresses other nodes are told.

package import struct ClusterModel.Endpoint
internal import Glibc

/// The address that other nodes are told, and those that it might have been as well.
package struct AdvertisedAddress: Hashable, Sendable {
    package let endpoint: Endpoint
    /// Addresses of other interfaces, "eth1 10.0.0.5": a reason to say which was chosen and how to choose another.
    package let alternatives: [String]
}

extension HostAddress {
    /// An address of an interface.
    package struct Interface: Hashable, Sendable, CustomStringConvertible {
        package let name: String
        /// With port 0.
        package let endpoint: Endpoint
        package var description: String { "\(name) \(endpoint.host)" }
    }

    /// Addresses that stand for "anywhere else" when the default route is asked for (RFC 5737, RFC 3849). Nothing is sent.
    private static let elsewhere = ["192.0.2.1", "2001:db8::1"]
    private static let discardPort: UInt16 = 9

    /// The address of this machine from which packets to `target` leave: a UDP socket is connected, which sends nothing.
    /// Returns nil when there is no route. The port is 0.
    package static func local(toward target: Endpoint) -> Endpoint? {
        let descriptor = socket(target.family, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let connectable = target.port == 0 ? target.with(port: discardPort) : target
        guard connectable.withSocketAddress(family: target.family, { connect(descriptor, $0, $1) }) == 0,
            let local = Endpoint(localOf: descriptor), !local.isUnspecified
        else { return nil }
        return local.with(port: 0)
    }

    /// The addresses of interfaces that are up, without loopback and link-local ones, in the system's order.
    package static func interfaces() -> [Interface] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [Interface] = []
        for entry in sequence(first: list, next: { $0?.pointee.ifa_next }) {
            guard let entry, let address = entry.pointee.ifa_addr, let endpoint = Endpoint(UnsafePointer(address)),
                entry.pointee.ifa_flags & UInt32(IFF_UP) != 0,
                !endpoint.isLoopback, !endpoint.isUnspecified, !endpoint.isLinkLocal
            else { continue }
            let interface = Interface(name: String(cString: entry.pointee.ifa_name), endpoint: endpoint.with(port: 0))
            if !found.contains(interface) { found.append(interface) }
        }
        return found
    }

    /// The address that other nodes are told, with the port of `listen`.
    ///
    /// `listen` itself where it is an address; where it is "every interface": the address toward the first seed that
    /// there is a route to, else that of the default route, else the first interface's, else loopback. A node that
    /// listens at 0.0.0.0 is told to nobody by an IPv6 address.
    package static func advertised(
        listen: Endpoint, toward seeds: [Endpoint], interfaces: [Interface] = interfaces()
    ) -> AdvertisedAddress {
        guard listen.isUnspecified else { return AdvertisedAddress(endpoint: listen, alternatives: []) }
        let isFit = { (endpoint: Endpoint) in !listen.isIPv4 || endpoint.isIPv4 }
        let candidates = interfaces.filter { isFit($0.endpoint) }
        let defaults = elsewhere.compactMap(numeric)
        let routed = (seeds + defaults).lazy.filter(isFit).compactMap { local(toward: $0) }.first
        let chosen = routed ?? candidates.first?.endpoint ?? Endpoint(ipv4: INADDR_LOOPBACK, port: 0)
        // Another address of the same interface is no other way into the machine.
        let own = candidates.first { $0.endpoint == chosen }?.name
        let others = chosen.isLoopback ? [] : candidates.filter { $0.endpoint != chosen && $0.name != own }
        return AdvertisedAddress(
            endpoint: chosen.with(port: listen.port), alternatives: others.map(\.description))
    }
}

extension Endpoint {
    /// 169.254.0.0/16 or fe80::/10: means nothing on another machine.
    fileprivate var isLinkLocal: Bool {
        isIPv4 ? (address.low >> 16) & 0xFFFF == 0xA9FE : address.high >> 54 == 0xFE80 >> 6
    }
}
