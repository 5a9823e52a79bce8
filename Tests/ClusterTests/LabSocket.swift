// Sockets inside a lab's namespaces, opened by the test itself: plain tools to test the lab with.

import Foundation
import Glibc
import Synchronization

/// A socket stays in the namespace in which it was opened, whoever uses it.
final class LabSocket {
    enum Kind { case datagram, stream }

    let descriptor: Int32

    /// Bound to the node's address; a stream listens.
    init(_ kind: Kind, in lab: NetworkLab, node number: Int, port: UInt16, listens: Bool = false) throws {
        let type = Int32(kind == .datagram ? SOCK_DGRAM.rawValue : SOCK_STREAM.rawValue)
        descriptor = try Self.inside("/run/netns/" + lab.namespace(number)) {
            socket(AF_INET, type | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        }
        guard descriptor >= 0 else { throw LabError(description: "socket: \(String(cString: strerror(errno)))") }
        let bound = Self.withAddress(lab.address(number), port) { bind(descriptor, $0, $1) }
        guard bound == 0, !listens || listen(descriptor, 16) == 0 else {
            Glibc.close(descriptor)
            throw LabError(description: "bind or listen: \(String(cString: strerror(errno)))")
        }
    }

    deinit { Glibc.close(descriptor) }

    func send(_ text: String, to address: String, port: UInt16) {
        let bytes = Array(text.utf8)
        _ = Self.withAddress(address, port) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
    }

    /// The next datagram; nil when none has come within the time.
    func receive(withinMs limit: Int32) -> String? {
        guard isReady(Int16(POLLIN), withinMs: limit) else { return nil }
        var buffer = [UInt8](repeating: 0, count: 2_048)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    /// Whether a connection came about within the time.
    func connect(to address: String, port: UInt16, withinMs limit: Int32) -> Bool {
        let code = Self.withAddress(address, port) { Glibc.connect(descriptor, $0, $1) }
        if code == 0 { return true }
        guard errno == EINPROGRESS, isReady(Int16(POLLOUT), withinMs: limit) else { return false }
        var failure: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) == 0 && failure == 0
    }

    private func isReady(_ events: Int16, withinMs limit: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        return poll(&entry, 1, limit) == 1
    }

    private static func withAddress<R>(
        _ address: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        var value = sockaddr_in()
        value.sin_family = sa_family_t(AF_INET)
        value.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &value.sin_addr)
        return withUnsafePointer(to: value) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Runs the body on a thread of its own that has entered the namespace and ends afterwards: no other thread's
    /// namespace is ever changed.
    private static func inside(_ path: String, _ body: @escaping @Sendable () -> Int32) throws -> Int32 {
        typealias Entering = @convention(c) (Int32, Int32) -> Int32
        // Swift's Glibc module has neither setns(2) nor its flag.
        guard let symbol = dlsym(nil, "setns") else { throw LabError(description: "there is no setns") }
        let setns = unsafeBitCast(symbol, to: Entering.self)
        let networkFlag: Int32 = 0x4000_0000
        let result = Mutex<Int32?>(nil)
        let done = DispatchSemaphore(value: 0)
        let thread = Thread {
            let namespace = open(path, O_RDONLY | O_CLOEXEC)
            if namespace >= 0 {
                if setns(namespace, networkFlag) == 0 { result.withLock { $0 = body() } }
                close(namespace)
            }
            done.signal()
        }
        thread.start()
        done.wait()
        guard let value = result.withLock({ $0 }) else { throw LabError(description: "\(path) cannot be entered") }
        return value
    }
}
