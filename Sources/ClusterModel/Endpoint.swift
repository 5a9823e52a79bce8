// Where a node can be reached: a numeric address and a port. UDP and TCP use the same number.

/// An IPv4 or IPv6 address with a port. Host names are resolved by the shell before they get here.
package struct Endpoint: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The 16 bytes of an IPv6 address; an IPv4 address as its IPv4-mapped form (::ffff:a.b.c.d).
    package let address: Bits128
    /// 1...65,535; 0 only where a system is asked to choose.
    package let port: UInt16

    private static let mappedPrefix: UInt64 = 0xFFFF_0000_0000

    package init(address: Bits128, port: UInt16) {
        self.address = address
        self.port = port
    }

    /// - Parameter ipv4: the four bytes in network order, the first in the highest bits.
    package init(ipv4: UInt32, port: UInt16) {
        self.init(address: Bits128(high: 0, low: Self.mappedPrefix | UInt64(ipv4)), port: port)
    }

    /// Reads 4 or 16 network-order bytes. Returns nil for any other count.
    package init?(bytes: [UInt8], port: UInt16) {
        switch bytes.count {
        case 4: self.init(ipv4: bytes.reduce(0) { $0 << 8 | UInt32($1) }, port: port)
        case 16:
            guard let bits = Bits128(bytes: bytes) else { return nil }
            self.init(address: bits, port: port)
        default: return nil
        }
    }

    package var isIPv4: Bool { address.high == 0 && address.low >> 32 == Self.mappedPrefix >> 32 }

    /// 127.0.0.0/8 or ::1.
    package var isLoopback: Bool {
        isIPv4 ? (address.low >> 24) & 0xFF == 127 : address.high == 0 && address.low == 1
    }

    /// 0.0.0.0 or ::, "every interface": an address to listen at, never one to be reached at.
    package var isUnspecified: Bool {
        address.high == 0 && (address.low == 0 || address.low == Self.mappedPrefix)
    }

    /// 4 or 16 bytes in network order.
    package var bytes: [UInt8] { isIPv4 ? Array(address.bytes.suffix(4)) : address.bytes }

    package func with(port: UInt16) -> Endpoint { Endpoint(address: address, port: port) }

    /// "192.0.2.7" or "2001:db8::7" (RFC 5952).
    package var host: String {
        let bytes = bytes
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        let groups = (0..<8).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }
        // The longest run of two or more zero groups, the first of equals, becomes "::".
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        let text = { (part: ArraySlice<UInt16>) in part.map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty
            ? text(groups[...]) : text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }

    /// "192.0.2.7:7400" or "[2001:db8::7]:7400".
    package var description: String { isIPv4 ? "\(host):\(port)" : "[\(host)]:\(port)" }

    package static func < (left: Endpoint, right: Endpoint) -> Bool {
        left.address != right.address ? left.address < right.address : left.port < right.port
    }
}
