// Where an export goes. Whatever the format: rows come one by one, and what has a name of its own appears under it only
// when it is complete.

internal import Glibc

/// Why an export could not be written; what was begun has been removed.
package struct ExportError: Error, Hashable, Sendable, CustomStringConvertible {
    package let message: String
    package let hint: String

    package init(_ message: String, hint: String = "") {
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }

    /// "cannot write PATH: no space left on device".
    static func system(_ what: String, _ code: CInt = errno) -> ExportError {
        ExportError("\(what): \(String(cString: strerror(code)).lowercased())")
    }
}

/// Takes the rows of one export. Call `write` for each, then `finish` once, or `abandon` if the export failed.
package protocol ExportSink: AnyObject {
    func write(_ record: ExportRecord) throws(ExportError)
    /// Completes the export: afterwards it is there under its name, synced.
    func finish() throws(ExportError)
    /// Removes what was begun.
    func abandon()
}

/// The formats of this version.
package enum ExportFormat: String, CaseIterable, Sendable {
    case jsonl, csv, text, sqlite

    /// Formats of CLI.md that are known and not in this version.
    package static let laterNames = ["hocr", "alto", "tsv", "pdf", "opensearch"]

    /// Whether the format can be written to standard output.
    package var isStream: Bool { self == .jsonl || self == .csv }

    /// Opens a sink. `path` nil means standard output.
    package func makeSink(path: [UInt8]?) throws(ExportError) -> any ExportSink {
        switch (self, path) {
        case (.jsonl, let path): return LineSink(try OutputFile(path: path), format: .jsonLines)
        case (.csv, let path): return LineSink(try OutputFile(path: path), format: .csv)
        case (.text, let path?): return try TextTreeSink(path: path)
        case (.sqlite, let path?): return try SQLiteSink(path: path)
        case (.text, nil), (.sqlite, nil):
            throw ExportError("the format \(rawValue) cannot go to standard output", hint: "add -o PATH")
        }
    }
}
