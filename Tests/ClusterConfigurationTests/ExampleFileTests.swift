// cluster.conf.example is the documentation of every key: it must agree with the code to the letter.

import ClusterConfiguration
import Foundation
import Testing

@Suite struct ExampleFileTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func example() throws -> String {
        try String(contentsOf: root.appending(path: "cluster.conf.example"), encoding: .utf8)
    }

    /// "[limits] max_pixels = 100_000_000" for each key that is commented out.
    private static func documentedKeys() throws -> [String] {
        var table = ""
        var found: [String] = []
        for line in try example().split(separator: "\n") {
            if line.hasPrefix("[") {
                table = "\(line) "
            } else if line.contains(#/^# [a-z_]+ = /#) {
                found.append(table + line.dropFirst(2))
            }
        }
        return found
    }

    @Test func `documents every key with its default, in order, and no other key`() throws {
        let expected = NodeConfiguration.keys.map { "\($0.qualifiedName) = \($0.defaultText)" }
        #expect(try Self.documentedKeys() == expected)
        #expect(Set(expected).count == expected.count)
    }

    @Test func `parses to the defaults as it stands`() throws {
        #expect(try NodeConfiguration.parse(bytes: Array(Self.example().utf8), path: "x") == NodeConfiguration())
    }

    @Test func `parses to the defaults with every key uncommented`() throws {
        let uncommented = try Self.example().split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.contains(#/^# [a-z_]+ = /#) ? String($0.dropFirst(2)) : String($0) }
            .joined(separator: "\n")
        #expect(uncommented.contains("\nmax_pixels = 100_000_000\n"))
        #expect(try NodeConfiguration.parse(bytes: Array(uncommented.utf8), path: "x") == NodeConfiguration())
    }

    @Test func `has no line longer than 120 characters`() throws {
        for line in try Self.example().split(separator: "\n") { #expect(line.count <= 120, "\(line)") }
    }

    @Test func `every key has one line of documentation`() {
        for key in NodeConfiguration.keys {
            #expect(!key.documentation.isEmpty && !key.documentation.contains("\n"), "\(key.qualifiedName)")
        }
    }
}
