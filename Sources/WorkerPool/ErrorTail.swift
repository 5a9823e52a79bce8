// What a worker wrote to standard error: little of it is kept, and one line of that is shown.

/// The first and the last bytes of a stream. The first, because a runtime says why it ends before it prints the stack.
struct ErrorTail {
    static let byteCount = 2_048
    private static let headByteCount = 512
    private static let wordsCount = 300

    private var head: [UInt8] = []
    private var tail: [UInt8] = []
    private var isCut = false

    mutating func append(_ piece: UnsafeRawBufferPointer) {
        let taken = min(Self.headByteCount - head.count, piece.count)
        head.append(contentsOf: piece[..<taken])
        tail.append(contentsOf: piece[taken...])
        if tail.count > Self.byteCount {
            tail.removeFirst(tail.count - Self.byteCount)
            isCut = true
        }
    }

    /// The last line that is not part of a stack trace, printable and short.
    var lastWords: String {
        let lines = isCut ? Self.lines(head) + Self.lines(tail).dropFirst() : Self.lines(head + tail)
        let line = lines.last { !$0.allSatisfy(\.isWhitespace) && !Self.isStackTrace($0) } ?? ""
        let printable = line.unicodeScalars.suffix(Self.wordsCount).filter { $0.value >= 0x20 && $0.value != 0x7F }
        return String(String.UnicodeScalarView(printable))
    }

    private static func lines(_ bytes: [UInt8]) -> [Substring] {
        String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    }

    /// "Current stack trace:" and the frames that the Swift runtime prints below it.
    private static func isStackTrace(_ line: Substring) -> Bool {
        line.hasPrefix("Current stack trace") || (line.first?.isNumber ?? false) && line.contains(" 0x0")
    }
}
