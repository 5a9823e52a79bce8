// Bytes of a file in pieces, and records that end with a separator.

internal import Glibc

/// Why a list or a manifest cannot be read at all (nothing was submitted yet), or broke off.
package struct SubmissionError: Error, Hashable, Sendable, CustomStringConvertible {
    package let message: String
    package let hint: String

    package init(_ message: String, hint: String = "") {
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }
}

/// Reads a descriptor in pieces of at most 64 KiB.
package struct ByteSource {
    private let next: () throws(SubmissionError) -> [UInt8]

    /// - Parameter next: the next piece, empty at the end.
    package init(_ next: @escaping () throws(SubmissionError) -> [UInt8]) { self.next = next }

    /// The next piece; empty at the end.
    package func read() throws(SubmissionError) -> [UInt8] { try next() }

    /// Reads a descriptor that the caller keeps open. `name` is for messages.
    package init(descriptor: CInt, name: String) {
        self.init { () throws(SubmissionError) in
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            while true {
                let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
                if count >= 0 { return Array(buffer.prefix(count)) }
                guard errno == EINTR else {
                    throw SubmissionError("\(name) cannot be read: \(FileSystem.reason(errno))")
                }
            }
        }
    }

    /// Gives out bytes that are in memory, in pieces of `pieceSize`.
    package init(bytes: [UInt8], pieceSize: Int = 64 << 10) {
        var position = 0
        self.init { () throws(SubmissionError) in
            let end = min(position + pieceSize, bytes.count)
            defer { position = end }
            return Array(bytes[position..<end])
        }
    }
}

/// Cuts bytes into records at a separator.
package enum RecordReader {
    /// Calls `body` with each record, without its separator, and its number from 1; nil stands for one longer than
    /// `limit`. The last record may lack its separator. `body` returns false to end.
    /// - Returns: false if `body` ended it.
    package static func read(
        _ source: ByteSource, separator: UInt8, limit: Int, body: ([UInt8]?, Int) throws(SubmissionError) -> Bool
    ) throws(SubmissionError) -> Bool {
        var record: [UInt8] = []
        var isTooLong = false
        var number = 0
        while true {
            let piece = try source.read()
            if piece.isEmpty { break }
            var rest = piece[...]
            while let end = rest.firstIndex(of: separator) {
                add(rest[..<end])
                guard try finish() else { return false }
                rest = rest[(end + 1)...]
            }
            add(rest)
        }
        return record.isEmpty && !isTooLong ? true : try finish()

        func add(_ bytes: ArraySlice<UInt8>) {
            if record.count + bytes.count > limit { isTooLong = true } else if !isTooLong { record += bytes }
        }
        func finish() throws(SubmissionError) -> Bool {
            number += 1
            defer {
                record.removeAll(keepingCapacity: true)
                isTooLong = false
            }
            return try body(isTooLong ? nil : record, number)
        }
    }
}
