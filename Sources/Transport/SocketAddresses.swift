// Endpoints as the system and NIO know them.
//
// Socket addresses are written and read as bytes at the offsets that the Linux ABI fixes: the C structures belong to
// several modules at once (Glibc, CNIOLinux), and which one the compiler asks for depends on what else a file imports.

internal import ClusterModel
internal import Glibc
internal import NIOCore

/// The layout of `sockaddr_in` and `sockaddr_in6`.
private enum AddressLayout {
    static let portOffset = 2
    static let ipv4Offset = 4
    static let ipv4ByteCount = 16
    static let ipv6Offset = 8
    static let ipv6ByteCount = 28
}

extension Endpoint {
    /// `AF_INET` or `AF_INET6`.
    var family: CInt { isIPv4 ? AF_INET : AF_INET6 }

    /// Calls `body` with this endpoint as a socket address of a family.
    ///
    /// - Parameter family: an IPv4 endpoint can be asked for as `AF_INET6`, mapped, for a dual-stack socket.
    /// - Returns: nil when an IPv6 endpoint is asked for as `AF_INET`.
    func withSocketAddress<Result>(
        family: CInt, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
    ) rethrows -> Result? {
        let isShort = family == AF_INET
        if isShort && !isIPv4 { return nil }
        let length = isShort ? AddressLayout.ipv4ByteCount : AddressLayout.ipv6ByteCount
        return try withUnsafeTemporaryAllocation(
            byteCount: AddressLayout.ipv6ByteCount, alignment: MemoryLayout<UInt64>.alignment
        ) { buffer in
            buffer.initializeMemory(as: UInt8.self, repeating: 0)
            buffer.storeBytes(of: UInt16(family), as: UInt16.self)
            buffer.storeBytes(of: port.bigEndian, toByteOffset: AddressLayout.portOffset, as: UInt16.self)
            if isShort {
                let value = UInt32(truncatingIfNeeded: address.low).bigEndian
                buffer.storeBytes(of: value, toByteOffset: AddressLayout.ipv4Offset, as: UInt32.self)
            } else {
                let offset = AddressLayout.ipv6Offset
                buffer.storeBytes(of: address.high.bigEndian, toByteOffset: offset, as: UInt64.self)
                buffer.storeBytes(of: address.low.bigEndian, toByteOffset: offset + 8, as: UInt64.self)
            }
            guard let start = buffer.baseAddress else { return nil }
            return try body(UnsafePointer(start.assumingMemoryBound(to: sockaddr.self)), socklen_t(length))
        }
    }

    /// Reads an address of the system. IPv4-mapped IPv6 addresses become IPv4 endpoints. Returns nil for families
    /// other than IPv4 and IPv6.
    init?(_ address: UnsafePointer<sockaddr>) {
        let bytes = UnsafeRawPointer(address)
        let port = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: AddressLayout.portOffset, as: UInt16.self))
        switch CInt(bytes.loadUnaligned(as: UInt16.self)) {
        case AF_INET:
            let value = bytes.loadUnaligned(fromByteOffset: AddressLayout.ipv4Offset, as: UInt32.self)
            self.init(ipv4: UInt32(bigEndian: value), port: port)
        case AF_INET6:
            let offset = AddressLayout.ipv6Offset
            self.init(
                address: Bits128(
                    high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
                    low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))),
                port: port)
        default: return nil
        }
    }

    /// The address that a call of the system writes: `body` is given the place and its length.
    /// - Returns: nil when `body` returns a negative value or the family is unknown.
    static func read(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int) -> (
        result: Int, endpoint: Endpoint
    )? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let result = body(address, &length)
                guard result >= 0, let endpoint = Endpoint(UnsafePointer(address)) else { return nil }
                return (result, endpoint)
            }
        }
    }

    /// The address that a socket is bound to.
    init?(localOf descriptor: CInt) {
        guard let found = Self.read({ Int(getsockname(descriptor, $0, $1)) }) else { return nil }
        self = found.endpoint
    }

    /// NIO's form. IPv4 endpoints are `AF_INET`.
    func nioAddress() throws -> SocketAddress { try SocketAddress(ipAddress: host, port: Int(port)) }

    /// NIO's form of an address. Returns nil for Unix sockets.
    init?(_ address: SocketAddress?) {
        guard let endpoint = address?.withSockAddr({ pointer, _ in Endpoint(pointer) }) else { return nil }
        self = endpoint
    }
}
