// A web server on loopback that answers as a test says, faults included.

import Foundation
import Glibc
import Synchronization

/// `@unchecked Sendable`: what changes is in `state`.
final class ScriptedServer: @unchecked Sendable {
    struct Request: Sendable {
        let method: String
        /// Path and query as they were sent.
        let target: String
        /// Names in lower case.
        let headers: [String: String]

        var path: String { String(target.prefix { $0 != "?" }) }
        /// Decoded.
        var query: [String: String] {
            let items = URLComponents(string: "http://h" + target)?.queryItems ?? []
            return Dictionary(items.map { ($0.name, $0.value ?? "") }) { first, _ in first }
        }
        /// Where the range that is asked for begins.
        var offset: Int {
            guard let range = headers["range"], range.hasPrefix("bytes="), range.hasSuffix("-") else { return 0 }
            return Int(range.dropFirst(6).dropLast()) ?? 0
        }
    }

    enum Ending: Sendable {
        case whole
        /// The connection is closed after so many bytes of the body.
        case cut(after: Int)
        /// Nothing comes after so many bytes, until the client goes.
        case stall(after: Int)
        /// No answer at all; the connection is closed.
        case none
    }

    struct Reply: Sendable {
        var status = 200
        var headers: [(String, String)] = []
        var body: [UInt8] = []
        /// The length that is said; nil says none.
        var length: Int?
        var ending = Ending.whole

        init(
            _ status: Int = 200, _ headers: [(String, String)] = [], body: [UInt8] = [], ending: Ending = .whole
        ) {
            self.status = status
            self.headers = headers
            self.body = body
            self.ending = ending
            length = body.count
        }
    }

    private struct State {
        var requests: [Request] = []
        var running = 0
        var mostRunning = 0
        var isStopped = false
    }

    let port: UInt16
    private let listener: CInt
    private let state = Mutex(State())
    private let handler: @Sendable (Request, Int) -> Reply

    var address: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { state.withLock { $0.requests } }
    /// Requests that were answered at the same time.
    var mostRunning: Int { state.withLock { $0.mostRunning } }

    /// - Parameter handler: gets each request and its number, from 1.
    init(_ handler: @escaping @Sendable (Request, Int) -> Reply) throws {
        self.handler = handler
        let opened = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(opened, $0, length) }
        }
        guard bound == 0, listen(opened, 128) == 0 else { throw POSIXError(.EADDRINUSE) }
        var found = length
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(opened, $0, &found) }
        }
        listener = opened
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [weak self] in
            while true {
                let connection = accept(opened, nil, nil)
                guard connection >= 0, let self else { return }
                Thread.detachNewThread { self.serve(connection) }
            }
        }
    }

    /// Nothing listens any more.
    func stop() {
        let isFirst = state.withLock { state in
            defer { state.isStopped = true }
            return !state.isStopped
        }
        guard isFirst else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    deinit { stop() }

    private func serve(_ connection: CInt) {
        defer { close(connection) }
        while let request = read(connection) {
            let number = state.withLock { state in
                state.requests.append(request)
                state.running += 1
                state.mostRunning = max(state.mostRunning, state.running)
                return state.requests.count
            }
            let reply = handler(request, number)
            let goesOn = write(reply, to: connection, isHead: request.method == "HEAD")
            state.withLock { $0.running -= 1 }
            guard goesOn else { return }
        }
    }

    private func read(_ connection: CInt) -> Request? {
        var head: [UInt8] = []
        var byte: UInt8 = 0
        while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            guard recv(connection, &byte, 1, 0) == 1, head.count < 64 << 10 else { return nil }
            head.append(byte)
        }
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                in: .whitespaces)
        }
        return Request(method: String(words[0]), target: String(words[1]), headers: headers)
    }

    private func write(_ reply: Reply, to connection: CInt, isHead: Bool) -> Bool {
        if case .none = reply.ending { return false }
        var head = "HTTP/1.1 \(reply.status) S\r\n"
        for (name, value) in reply.headers { head += "\(name): \(value)\r\n" }
        if let length = reply.length {
            head += "Content-Length: \(length)\r\n"
        } else {
            head += "Connection: close\r\n"
        }
        send(Array((head + "\r\n").utf8)[...], to: connection)
        switch reply.ending {
        case .none: return false
        case .whole:
            if !isHead { send(reply.body[...], to: connection) }
            return reply.length != nil
        case .cut(let count):
            send(reply.body.prefix(count), to: connection)
            return false
        case .stall(let count):
            send(reply.body.prefix(count), to: connection)
            var byte: UInt8 = 0
            // Ends when the client closes.
            _ = recv(connection, &byte, 1, 0)
            return false
        }
    }

    private func send(_ bytes: ArraySlice<UInt8>, to connection: CInt) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// Bytes that differ at every offset.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) } }
