// On which line a key of a TOML document stands. The parser gives positions of its own errors only; ours need them too.

/// Lines of tables and keys of a well-formed document. On any other document lookups may miss, and never trap.
struct LineIndex {
    /// The line of the first place where a key must stand and none does. The parser aborts the process on some of these
    /// (`[(`), so a document that has one must not reach it.
    private(set) var firstMissingKeyLine: Int?
    /// The line of the first bracket of a value that closes none or another one; the parser aborts on some of these too
    /// (`[}`).
    private(set) var firstMisfitLine: Int?
    private var lines: [[String]: Int] = [:]
    private let bytes: [UInt8]
    private var position = 0
    private var line = 1

    init(_ text: String) {
        bytes = Array(text.utf8)
        scan()
    }

    /// The line of a key or of the closest thing that holds it (an inline table, a table's header), nil when nothing is.
    func line(of path: [String]) -> Int? {
        var rest = path
        while !rest.isEmpty {
            if let line = lines[rest] { return line }
            rest.removeLast()
        }
        return nil
    }

    /// The line of a key itself, nil when it does not stand in the document.
    func exactLine(of path: [String]) -> Int? { lines[path] }

    /// The name under which an element of an array is found below its key.
    static func element(_ index: Int) -> String { "[\(index)]" }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func advance() {
        if current == UInt8(ascii: "\n") { line += 1 }
        position += 1
    }

    private mutating func skipBlanks() {
        while let byte = current, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { advance() }
    }

    private mutating func skipLine() {
        while let byte = current, byte != UInt8(ascii: "\n") { advance() }
        advance()
    }

    private mutating func scan() {
        var table: [String] = []
        while current != nil {
            skipBlanks()
            switch current {
            case UInt8(ascii: "["):
                while current == UInt8(ascii: "[") { advance() }
                table = key()
                note(table)
                skipLine()
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "#"), nil: skipLine()
            default:
                let path = table + key()
                note(path)
                if current == UInt8(ascii: "=") {
                    advance()
                    skipValue(of: path)
                } else {
                    skipLine()
                }
            }
        }
    }

    private mutating func note(_ path: [String]) {
        if !path.isEmpty, lines[path] == nil { lines[path] = line }
    }

    /// A dotted key, up to what ends it.
    private mutating func key() -> [String] {
        var names: [String] = []
        while true {
            skipBlanks()
            if let quote = current, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                let start = position + 1
                skipString()
                names.append(String(decoding: bytes[start..<max(start, min(position - 1, bytes.count))], as: UTF8.self))
            } else {
                let start = position
                while let byte = current, Self.isBare(byte) { advance() }
                if position == start, firstMissingKeyLine == nil { firstMissingKeyLine = line }
                names.append(String(decoding: bytes[start..<position], as: UTF8.self))
            }
            skipBlanks()
            guard current == UInt8(ascii: ".") else { return names }
            advance()
        }
    }

    private static func isBare(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// A value up to the end of the line on which it ends. Notes where the elements of an array stand.
    private mutating func skipValue(of path: [String]) {
        var open: [UInt8] = []
        var elementCount = 0
        var isElementAwaited = false
        while let byte = current {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): advance()
            case UInt8(ascii: "#"):
                while current != nil, current != UInt8(ascii: "\n") { advance() }
            case UInt8(ascii: "\n"):
                advance()
                if open.isEmpty { return }
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                // In ASCII each bracket stands two before the one that closes it.
                if open.popLast() != byte - 2, firstMisfitLine == nil { firstMisfitLine = line }
                advance()
            case UInt8(ascii: ","):
                isElementAwaited = open == [UInt8(ascii: "[")]
                advance()
            default:
                if isElementAwaited {
                    note(path + [Self.element(elementCount)])
                    elementCount += 1
                    isElementAwaited = false
                }
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "'"): skipString()
                case UInt8(ascii: "["), UInt8(ascii: "{"):
                    isElementAwaited = open.isEmpty && byte == UInt8(ascii: "[")
                    open.append(byte)
                    advance()
                default: advance()
                }
            }
        }
    }

    /// A string of any of the four kinds; `current` is its first quote.
    private mutating func skipString() {
        guard let quote = current else { return }
        let isLong = position + 2 < bytes.count && bytes[position + 1] == quote && bytes[position + 2] == quote
        for _ in 0..<(isLong ? 3 : 1) { advance() }
        while let byte = current {
            if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                advance()
                advance()
            } else if byte == quote {
                guard isLong else { return advance() }
                var count = 0
                while current == quote {
                    count += 1
                    advance()
                }
                if count >= 3 { return }
            } else if byte == UInt8(ascii: "\n"), !isLong {
                return
            } else {
                advance()
            }
        }
    }
}
