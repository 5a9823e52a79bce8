// Takes a parsed document into a configuration, key by key, and words every refusal.

import ClusterModel
import TOMLKit

struct ConfigurationReader {
    private let path: String
    private let lines: LineIndex
    private(set) var configuration = NodeConfiguration()

    init(path: String, lines: LineIndex) {
        self.path = path
        self.lines = lines
    }

    mutating func apply(_ document: TOMLTable) throws(ConfigurationError) {
        let tables = Set(ConfigurationKey.all.compactMap(\.table))
        for name in document.keys {
            // A name with an escaped NUL comes back cut, and is not found again.
            guard let value = document[name] else { throw unknown(name, table: nil) }
            if tables.contains(name) {
                // `name` is a key at the top and in [cluster]; no table has the name of a key.
                guard let content = value.table else {
                    throw refusal([name], "[\(name)]", "is \(Self.article(value))", "a table of keys")
                }
                for key in content.keys {
                    guard let value = content[key] else { throw unknown(key, table: name) }
                    try set(key, in: name, to: value)
                }
            } else if value.table != nil, !ConfigurationKey.all.contains(where: { $0.table == nil && $0.name == name })
            {
                let near = Suggestion.nearest(to: name, among: tables.sorted()).map { "did you mean [\($0)]?" }
                throw ConfigurationError(
                    path: path, line: lines.line(of: [name]), key: "[\(Suggestion.cut(name))]",
                    problem: "unknown table", hint: near ?? "the tables are " + tables.sorted().joined(separator: ", "))
            } else {
                try set(name, in: nil, to: value)
            }
        }
    }

    /// What no single key can tell.
    func checkRelations() throws(ConfigurationError) {
        if configuration.work.retryBackoffMax < configuration.work.retryBackoff {
            throw refusal(
                ["work", "retry_backoff_max"], "[work] retry_backoff_max",
                "is \"\(Quantity.text(configuration.work.retryBackoffMax))\"",
                "at least retry_backoff (\"\(Quantity.text(configuration.work.retryBackoff))\")")
        }
        if configuration.worker.recycleResidentByteCount > configuration.worker.memoryByteCount {
            throw refusal(
                ["worker", "recycle_rss"], "[worker] recycle_rss",
                "is \"\(Quantity.text(byteCount: configuration.worker.recycleResidentByteCount))\"",
                "at most memory (\"\(Quantity.text(byteCount: configuration.worker.memoryByteCount))\")")
        }
    }

    private mutating func set(
        _ name: String, in table: String?, to value: any TOMLValueConvertible
    ) throws(ConfigurationError) {
        guard let key = ConfigurationKey.all.first(where: { $0.table == table && $0.name == name }) else {
            throw unknown(name, table: table)
        }
        switch key.kind {
        case .integer(let property, let range):
            configuration[keyPath: property] = try integer(value, key, "\(range.lowerBound)...\(range.upperBound)") {
                range.contains($0)
            }
        case .powerOfTwo(let property, let range):
            let expected = "a power of two, \(range.lowerBound)...\(range.upperBound)"
            configuration[keyPath: property] = try integer(value, key, expected) {
                range.contains($0) && $0.nonzeroBitCount == 1
            }
        case .oneOf(let property, let values, let expected):
            configuration[keyPath: property] = try integer(value, key, expected) { values.contains($0) }
        case .byteCount(let property, let range):
            let expected =
                "a size such as \"256MiB\", \"\(Quantity.text(byteCount: range.lowerBound))\" to "
                + "\"\(Quantity.text(byteCount: range.upperBound))\""
            configuration[keyPath: property] = try converted(value, key, expected) { text in
                Quantity.byteCount(text).flatMap { range.contains($0) ? $0 : nil }
            }
        case .duration(let property, let range):
            let expected =
                "a duration such as \"500ms\", \"180s\" or \"2m\", \"\(Quantity.text(range.lowerBound))\" to "
                + "\"\(Quantity.text(range.upperBound))\""
            configuration[keyPath: property] = try converted(value, key, expected) { text in
                Quantity.duration(text).flatMap { range.contains($0) ? $0 : nil }
            }
        case .text(let property, let text):
            configuration[keyPath: property] = try converted(value, key, text.expected) { text.accepts($0) ? $0 : nil }
        case .sandbox(let property):
            configuration[keyPath: property] = try converted(value, key, "\"on\" or \"off\"") {
                NodeConfiguration.Worker.Sandbox(rawValue: $0)
            }
        case .level(let property):
            let names = NodeConfiguration.Log.Level.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            configuration[keyPath: property] = try converted(value, key, "one of \(names)") {
                NodeConfiguration.Log.Level(rawValue: $0)
            }
        }
    }

    private func integer(
        _ value: any TOMLValueConvertible, _ key: ConfigurationKey, _ expected: String, isAllowed: (Int) -> Bool
    ) throws(ConfigurationError) -> Int {
        guard let number = value.int else { throw wrongType(value, key, "an integer, \(expected)") }
        guard isAllowed(number) else { throw refusal(key, "is \(number)", expected) }
        return number
    }

    private func converted<Value>(
        _ value: any TOMLValueConvertible, _ key: ConfigurationKey, _ expected: String, _ convert: (String) -> Value?
    ) throws(ConfigurationError) -> Value {
        guard let text = value.string else { throw wrongType(value, key, expected) }
        guard let converted = convert(text) else { throw refusal(key, "is \"\(Suggestion.cut(text))\"", expected) }
        return converted
    }

    private func wrongType(
        _ value: any TOMLValueConvertible, _ key: ConfigurationKey, _ expected: String
    ) -> ConfigurationError {
        refusal(key, "is \(Self.article(value))", expected)
    }

    private func refusal(_ key: ConfigurationKey, _ problem: String, _ expected: String) -> ConfigurationError {
        refusal((key.table.map { [$0] } ?? []) + [key.name], key.qualifiedName, problem, expected)
    }

    private func refusal(
        _ place: [String], _ key: String, _ problem: String, _ expected: String
    ) -> ConfigurationError {
        ConfigurationError(
            path: path, line: lines.line(of: place), key: key, problem: problem, expected: expected)
    }

    private func unknown(_ name: String, table: String?) -> ConfigurationError {
        let shown = Suggestion.cut(name)
        var hint: String?
        let siblings = ConfigurationKey.all.filter { $0.table == table }.map(\.name)
        if let elsewhere = ConfigurationKey.all.first(where: { $0.name == name }) {
            hint = elsewhere.table.map { "\(name) belongs under [\($0)]" } ?? "\(name) belongs above all tables"
        } else if let near = Suggestion.nearest(to: name, among: siblings) {
            hint = "did you mean \(near)?"
        } else if let near = Suggestion.nearest(to: name, among: ConfigurationKey.all.map(\.name)),
            let key = ConfigurationKey.all.first(where: { $0.name == near })
        {
            hint = "did you mean \(key.qualifiedName)?"
        }
        return ConfigurationError(
            path: path, line: lines.line(of: (table.map { [$0] } ?? []) + [name]),
            key: ConfigurationKey.qualifiedName(table: table, shown), problem: "unknown key",
            hint: hint ?? "cluster.conf.example explains every key")
    }

    private static func article(_ value: any TOMLValueConvertible) -> String {
        switch value.type {
        case .table: "a table"
        case .array: "an array"
        case .string: "a text"
        case .int: "an integer"
        case .double: "a fraction"
        case .bool: "true or false"
        case .date, .time, .dateTime: "a date or time"
        }
    }
}

extension ConfigurationKey.Text {
    var expected: String {
        switch self {
        case .path(let mayBeEmpty): mayBeEmpty ? "a path, or \"\"" : "a path"
        case .label(let mayBeEmpty):
            "1...63 letters, digits, '.', '_' or '-'" + (mayBeEmpty ? ", or \"\"" : "")
        case .language: "names of language models such as \"eng\" or \"deu+eng\""
        case .address: "\"ADDRESS:PORT\" (an IPv6 address in brackets), or \"\""
        }
    }

    func accepts(_ text: String) -> Bool {
        switch self {
        case .path(let mayBeEmpty): mayBeEmpty || !text.isEmpty
        case .label(let mayBeEmpty):
            text.isEmpty
                ? mayBeEmpty
                : text.utf8.count <= 63
                    && text.unicodeScalars.allSatisfy { scalar in
                        scalar.isASCII
                            && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                                || "._-".unicodeScalars.contains(scalar))
                    }
        case .language: LanguageSpecification.names(in: text) != nil
        case .address: text.isEmpty || Self.isAddress(text)
        }
    }

    private static func isAddress(_ text: String) -> Bool {
        guard text.utf8.count <= 300, let colon = text.lastIndex(of: ":") else { return false }
        let host = text[..<colon]
        let port = text[text.index(after: colon)...]
        guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(port), (1...65_535).contains(number)
        else { return false }
        if host.hasPrefix("["), host.hasSuffix("]") { return host.utf8.count > 2 }
        return !host.isEmpty && !host.contains(":") && !host.contains(where: \.isWhitespace)
    }
}

/// The known name that somebody may have meant.
enum Suggestion {
    /// Names longer than this are not compared.
    private static let longestByteCount = 64

    /// The closest of `names`, when no more than a third of it would have to change.
    static func nearest(to name: String, among names: [String]) -> String? {
        guard name.utf8.count <= longestByteCount else { return nil }
        let measured = names.map { (name: $0, distance: distance(Array(name.utf8), Array($0.utf8))) }
        guard let best = measured.min(by: { $0.distance < $1.distance }),
            best.distance <= max(1, best.name.utf8.count / 3)
        else { return nil }
        return best.name
    }

    /// A text from outside, for a message: at most 200 characters, without control characters.
    static func cut(_ text: String) -> String {
        let plain = text.prefix(200).map { character in
            character.unicodeScalars.contains { $0.value < 32 || $0.value == 127 } ? "?" : String(character)
        }
        return plain.joined() + (text.count > 200 ? "…" : "")
    }

    /// Levenshtein's.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var previous = Array(0...right.count)
        for (row, leftByte) in left.enumerated() {
            var current = [row + 1]
            for (column, rightByte) in right.enumerated() {
                current.append(
                    min(
                        previous[column + 1] + 1, current[column] + 1,
                        previous[column] + (leftByte == rightByte ? 0 : 1)))
            }
            previous = current
        }
        return previous[right.count]
    }
}
