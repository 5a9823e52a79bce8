// The project's own files, as text.

import Foundation

/// The source tree that this test was compiled from.
enum SourceTree {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct File: Sendable {
        /// Relative to the root: "Sources/Ledger/Schema.swift".
        let path: String
        let lines: [Substring]

        /// The target's name: the folder under Sources.
        var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
        var isGenerated: Bool { path.contains("/Generated/") }
        /// What stands before a line comment. Good enough for words; block comments and texts are not told apart.
        var code: [Substring] {
            lines.map { line in
                guard let comment = line.firstRange(of: "//"), !line[..<comment.lowerBound].hasSuffix(":") else {
                    return line
                }
                return line[..<comment.lowerBound]
            }
        }
    }

    /// Files under `folder` whose names end so, by path. Empty when there is no such folder.
    static func files(in folder: String, suffixes: [String]) throws -> [File] {
        let start = root.appending(path: folder)
        guard let walk = FileManager.default.enumerator(atPath: start.path) else { return [] }
        var files: [File] = []
        for case let name as String in walk where suffixes.contains(where: { name.hasSuffix($0) }) {
            let text = try String(contentsOf: start.appending(path: name), encoding: .utf8)
            files.append(
                File(path: "\(folder)/\(name)", lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
        }
        return files.sorted { $0.path < $1.path }
    }

    static func swift(in folder: String = "Sources") throws -> [File] {
        try files(in: folder, suffixes: [".swift"]).filter { !$0.isGenerated }
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }
}
