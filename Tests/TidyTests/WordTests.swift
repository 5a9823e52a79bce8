// Words that do not belong into the sources, and files that grew too long.

import Testing

@Suite struct WordTests {
    /// A forbidden word and what to do instead.
    private static let forbidden: [(word: String, instead: String)] = [
        ("fatalError(", "return an error, or use precondition for our own mistakes"),
        ("try!", "handle the error"),
        ("as!", "use as? and handle nil"),
        ("TODO", "do it, or open an issue"),
        ("FIXME", "mend it, or open an issue"),
        ("Task.sleep", "wait for the event itself"),
        ("usleep", "wait for the event itself"),
    ]

    /// Where a forbidden word is right, and why. An entry without its word is an error: the list only shrinks by itself.
    private static let allowed: [(path: String, word: String, reason: String)] = [
        ("Sources/node/StartCommand.swift", "Task.sleep", "polls for the socket of a process that was just started"),
        ("Sources/node/Commands/StatusCommand.swift", "Task.sleep", "rate of the refreshed screen"),
        ("Sources/NodeRuntime/Node.swift", "Task.sleep", "gives open streams a bounded time to end"),
        ("Sources/NodeRuntime/AdminService+Drain.swift", "Task.sleep", "rate of the progress messages"),
        ("Sources/NodeRuntime/DrainControl.swift", "Task.sleep", "rate of looks at a drain, and of offers of files"),
        (
            "Sources/NodeRuntime/Cluster/PeerPost.swift", "Task.sleep",
            "pause before what a busy peer did not take is sent again"
        ),
        (
            "Sources/NodeRuntime/Watch/WatchSupervisor.swift", "Task.sleep",
            "rate of looks at the catalogue and the members"
        ),
        (
            "Sources/NodeRuntime/Watch/PrefixRunner.swift", "Task.sleep",
            "pause between looks at a store, which tells nothing by itself"
        ),
        ("Sources/node/Commands/SubmitCommand+Watch.swift", "Task.sleep", "rate of questions for the first look"),
        ("Sources/NodeRuntime/AdminService+Status.swift", "Task.sleep", "rate of the progress messages"),
        ("Sources/CloudMetadata/NoticeWatch.swift", "Task.sleep", "rate of looks at the metadata service"),
        ("Sources/CloudMetadata/SmallExchange.swift", "Task.sleep", "bounds a request from its start to its last byte"),
        ("Sources/ObjectStorage/HTTP/RetryPolicy.swift", "Task.sleep", "pause before a store is asked again"),
    ]

    private static func sources() throws -> [SourceTree.File] {
        try SourceTree.files(in: "Sources", suffixes: [".swift", ".c", ".cpp", ".h"]).filter { !$0.isGenerated }
    }

    @Test func `forbidden words stand only where the list allows them`() throws {
        for file in try Self.sources() {
            for (word, instead) in Self.forbidden {
                // Notes stand in comments, code does not.
                let lines = word == "TODO" || word == "FIXME" ? file.lines : file.code
                let found = lines.indices.filter { lines[$0].contains(word) }
                if let entry = Self.allowed.first(where: { $0.path == file.path && $0.word == word }) {
                    #expect(!found.isEmpty, "\(entry.path) has no \(word) any more: remove it from the list")
                } else {
                    for line in found { Issue.record("\(file.path):\(line + 1): \(word); \(instead)") }
                }
            }
        }
    }

    @Test(arguments: ["@unchecked Sendable", "nonisolated(unsafe)"])
    func `what switches a check of the compiler off says why in a comment above it`(word: String) throws {
        for file in try Self.sources() {
            for (number, line) in file.code.enumerated() where line.contains(word) {
                let above = file.lines[max(0, number - 12)...number]
                #expect(
                    above.contains { $0.contains(word) && $0.contains("//") },
                    "\(file.path):\(number + 1): \(word) without a comment that names it and says why it is right")
            }
        }
    }

    @Test func `no source file is longer than 600 lines`() throws {
        let tests = try SourceTree.swift(in: "Tests") + SourceTree.swift(in: "Benchmarks")
        for file in try Self.sources() + tests {
            #expect(file.lines.count <= 601, "\(file.path) has \(file.lines.count - 1) lines: it holds two concerns")
        }
    }
}
