// The XML that S3 writes, read as a sequence of events: elements, text, the five entities and character references.
//
// Invariants: no input traps; depth is bounded; declarations, comments, processing instructions and CDATA are understood
// as far as they must be to be passed over; a document type is refused, for nothing good comes of one.

package struct XMLReader {
    package enum Event: Hashable, Sendable {
        case start(String)
        case text([UInt8])
        case end(String)
    }

    package struct Malformed: Error, Hashable, Sendable {
        package let text: String
    }

    package static let depthLimit = 32
    private static let nameByteLimit = 256

    private let bytes: [UInt8]
    private var position = 0
    private var open: [String] = []
    /// The end of an element that closed itself.
    private var pendingEnd: String?
    private var hasRoot = false

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next event, nil at the end. Text comes in pieces as it may; attributes are passed over.
    package mutating func next() throws(Malformed) -> Event? {
        if let name = pendingEnd {
            pendingEnd = nil
            return .end(name)
        }
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "<") else {
                let text = try text()
                if open.isEmpty {
                    guard text.allSatisfy({ $0 <= 0x20 || $0 >= 0x80 }) else { throw Malformed(text: "text outside") }
                    continue
                }
                return .text(text)
            }
            if skip("<?") {
                try pass("?>")
            } else if skip("<!--") {
                try pass("-->")
            } else if skip("<![CDATA[") {
                let start = position
                try pass("]]>")
                guard !open.isEmpty else { throw Malformed(text: "text outside") }
                return .text(Array(bytes[start..<(position - 3)]))
            } else if skip("<!") {
                throw Malformed(text: "a document type")
            } else if skip("</") {
                let name = try name()
                try pass(">")
                guard open.popLast() == name else { throw Malformed(text: "</\(name)> does not fit") }
                return .end(name)
            } else {
                return try start()
            }
        }
        guard open.isEmpty, hasRoot else { throw Malformed(text: hasRoot ? "it breaks off" : "no element") }
        return nil
    }

    private mutating func start() throws(Malformed) -> Event {
        position += 1
        let name = try name()
        guard open.count < Self.depthLimit else { throw Malformed(text: "more than \(Self.depthLimit) levels") }
        guard !open.isEmpty || !hasRoot else { throw Malformed(text: "a second root") }
        hasRoot = true
        var quote: UInt8?
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if let open = quote {
                if byte == open { quote = nil }
            } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                quote = byte
            } else if byte == UInt8(ascii: ">") {
                if bytes[position - 2] == UInt8(ascii: "/") {
                    pendingEnd = name
                } else {
                    open.append(name)
                }
                return .start(name)
            } else if byte == UInt8(ascii: "<") {
                break
            }
        }
        throw Malformed(text: "<\(name) does not end")
    }

    /// A name without its prefix.
    private mutating func name() throws(Malformed) -> String {
        let start = position
        while position < bytes.count, !" \t\r\n/><=\"'".utf8.contains(bytes[position]) { position += 1 }
        let name = bytes[start..<position]
        guard !name.isEmpty, name.count <= Self.nameByteLimit else { throw Malformed(text: "a tag without a name") }
        let local = name.lastIndex(of: UInt8(ascii: ":")).map { name[($0 + 1)...] } ?? name
        return String(decoding: local, as: UTF8.self)
    }

    private mutating func text() throws(Malformed) -> [UInt8] {
        var text: [UInt8] = []
        while position < bytes.count, bytes[position] != UInt8(ascii: "<") {
            guard bytes[position] == UInt8(ascii: "&") else {
                text.append(bytes[position])
                position += 1
                continue
            }
            let rest = bytes[(position + 1)...].prefix(12)
            guard let end = rest.firstIndex(of: UInt8(ascii: ";")),
                let character = Self.entity(String(decoding: rest[..<end], as: UTF8.self))
            else { throw Malformed(text: "an entity that is not known") }
            text += Array(String(character).utf8)
            position = end + 1
        }
        return text
    }

    private static func entity(_ name: String) -> Unicode.Scalar? {
        switch name {
        case "amp": return "&"
        case "lt": return "<"
        case "gt": return ">"
        case "quot": return "\""
        case "apos": return "'"
        default: break
        }
        guard name.hasPrefix("#"), !name.contains("+"), !name.contains("-") else { return nil }
        let isHexadecimal = name.hasPrefix("#x") || name.hasPrefix("#X")
        guard let value = UInt32(name.dropFirst(isHexadecimal ? 2 : 1), radix: isHexadecimal ? 16 : 10) else {
            return nil
        }
        return Unicode.Scalar(value)
    }

    private mutating func skip(_ text: String) -> Bool {
        guard bytes[position...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    private mutating func pass(_ text: String) throws(Malformed) {
        while position < bytes.count {
            if skip(text) { return }
            position += 1
        }
        throw Malformed(text: "\(text) is missing")
    }
}
