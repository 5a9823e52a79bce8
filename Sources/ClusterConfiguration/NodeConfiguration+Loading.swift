// From a file to a configuration: finding it, reading it, checking every key.

import ClusterModel
import Glibc
import TOMLKit

extension NodeConfiguration {
    private static let syntaxHint = "the syntax is TOML: key = value, texts in quotes; see cluster.conf.example"

    /// Where a configuration is looked for when nobody names one.
    package static let standardPaths = ["./cluster.conf", "/etc/ocr-cluster/cluster.conf"]
    /// Largest file that is read.
    package static let fileByteCount = 256 << 10
    /// Longest line that is parsed: bounds the depth of dotted keys.
    package static let lineByteCount = 4_096

    /// The file to load: `--config`, else `NODE_CONFIG`, else the first of `standardPaths` that exists, else nil.
    ///
    /// A file that was named is returned whether it exists or not, so that loading it says what is wrong.
    package static func locate(
        flag: String?, environment: [String: String], standardPaths: [String] = standardPaths
    ) -> String? {
        if let flag { return flag }
        if let named = environment["NODE_CONFIG"], !named.isEmpty { return named }
        return standardPaths.first { access($0, F_OK) == 0 }
    }

    /// The data directory: `--data-dir`, else `NODE_DATA_DIR`, else that of the file or its default.
    package func dataDirectory(flag: String?, environment: [String: String]) -> String {
        if let flag, !flag.isEmpty { return flag }
        if let named = environment["NODE_DATA_DIR"], !named.isEmpty { return named }
        return dataDirectory
    }

    /// Reads and checks a file; nil gives the defaults.
    package static func load(path: String?) throws(ConfigurationError) -> NodeConfiguration {
        guard let path else { return NodeConfiguration() }
        return try parse(bytes: read(path), path: path)
    }

    /// Checks the bytes of a file; `path` is for messages.
    package static func parse(bytes: [UInt8], path: String) throws(ConfigurationError) -> NodeConfiguration {
        let (document, lines) = try document(bytes, path: path)
        var reader = ConfigurationReader(path: path, lines: lines)
        try reader.apply(document)
        try reader.checkRelations()
        return reader.configuration
    }

    private static func document(
        _ bytes: [UInt8], path: String
    ) throws(ConfigurationError) -> (TOMLTable, LineIndex) {
        var line = 1
        var lineStart = 0
        for (position, byte) in bytes.enumerated() {
            if byte == 0 { throw ConfigurationError(path: path, line: line, problem: "holds a NUL byte") }
            if byte == UInt8(ascii: "\n") {
                line += 1
                lineStart = position + 1
            } else if position - lineStart >= lineByteCount {
                throw ConfigurationError(path: path, line: line, problem: "a line longer than \(lineByteCount) bytes")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(path: path, problem: "is not UTF-8 text")
        }
        let lines = LineIndex(text)
        if let line = lines.firstMissingKeyLine {
            throw ConfigurationError(path: path, line: line, problem: "no key where one must stand", hint: syntaxHint)
        }
        if let line = lines.firstMisfitLine {
            throw ConfigurationError(path: path, line: line, problem: "a bracket that does not fit", hint: syntaxHint)
        }
        do {
            return (try TOMLTable(string: text), lines)
        } catch let error as TOMLParseError {
            throw ConfigurationError(
                path: path, line: error.source.begin.line, problem: Suggestion.cut(error.description), hint: syntaxHint)
        } catch {
            throw ConfigurationError(path: path, problem: "\(error)")
        }
    }

    private static func read(_ path: String) throws(ConfigurationError) -> [UInt8] {
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ConfigurationError(
                path: path, problem: "cannot be read: \(String(cString: strerror(errno)))",
                hint: "check --config, NODE_CONFIG and the file's permissions")
        }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else {
            throw ConfigurationError(path: path, problem: "is not a regular file")
        }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw ConfigurationError(path: path, problem: "cannot be read: \(String(cString: strerror(errno)))")
            }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            if bytes.count > fileByteCount {
                throw ConfigurationError(path: path, problem: "is larger than \(fileByteCount) bytes")
            }
        }
    }
}
