// Takes a parsed document into a configuration, key by key, and words every refusal.

import ClusterModel
import TOMLKit

struct ConfigurationReader {
    let path: String
    let lines: LineIndex
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
        case .decimal(let property, let range):
            configuration[keyPath: property] = try decimal(value, key, range)
        case .flag(let property):
            guard let flag = value.bool else { throw wrongType(value, key, "true or false") }
            configuration[keyPath: property] = flag
        case .texts(let property, let text, let limit):
            configuration[keyPath: property] = try texts(value, key, text, atMost: limit)
        case .text(let property, let text):
            configuration[keyPath: property] = try converted(value, key, text.expected) { text.accepts($0) ? $0 : nil }
        case .reuse(let property):
            configuration[keyPath: property] = try converted(value, key, "\"on\" or \"off\"") {
                NodeConfiguration.Work.Reuse(rawValue: $0)
            }
        case .sandbox(let property):
            configuration[keyPath: property] = try converted(value, key, "\"on\" or \"off\"") {
                NodeConfiguration.Worker.Sandbox(rawValue: $0)
            }
        case .level(let property):
            let names = NodeConfiguration.Log.Level.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            configuration[keyPath: property] = try converted(value, key, "one of \(names)") {
                NodeConfiguration.Log.Level(rawValue: $0)
            }
        case .provider(let property):
            let names = NodeConfiguration.CloudService.Provider.allCases.map { "\"\($0.rawValue)\"" }
            configuration[keyPath: property] = try converted(value, key, "one of \(names.joined(separator: ", "))") {
                NodeConfiguration.CloudService.Provider(rawValue: $0)
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

    private func decimal(
        _ value: any TOMLValueConvertible, _ key: ConfigurationKey, _ range: ClosedRange<Double>
    ) throws(ConfigurationError) -> Double {
        let expected = "\(range.lowerBound)...\(range.upperBound)"
        guard let number = value.double ?? value.int.map(Double.init) else {
            throw wrongType(value, key, "a number, \(expected)")
        }
        guard range.contains(number) else { throw refusal(key, "is \(number)", expected) }
        return number
    }

    /// The elements of an array; an error names the line of its element, and the element counted from 1.
    private func texts(
        _ value: any TOMLValueConvertible, _ key: ConfigurationKey, _ kind: ConfigurationKey.Text, atMost limit: Int
    ) throws(ConfigurationError) -> [String] {
        let expected = "an array of at most \(limit) texts, each \(kind.expected)"
        guard let array = value.array else { throw wrongType(value, key, expected) }
        guard array.count <= limit else { throw refusal(key, "has \(array.count) elements", expected) }
        var texts: [String] = []
        for index in 0..<array.count {
            let element = array[index]
            guard let text = element.string, kind.accepts(text) else {
                let problem = element.string.map { "\"\(Suggestion.cut($0))\"" } ?? Self.article(element)
                throw ConfigurationError(
                    path: path, line: lines.line(of: place(of: key) + [LineIndex.element(index)]),
                    key: key.qualifiedName, problem: "element \(index + 1) is \(problem)", expected: kind.expected)
            }
            texts.append(text)
        }
        return texts
    }

    private func place(of key: ConfigurationKey) -> [String] { (key.table.map { [$0] } ?? []) + [key.name] }

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
        refusal(place(of: key), key.qualifiedName, problem, expected)
    }

    func refusal(
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
