// Documents that must keep up with the code.

import ClusterModel
import Foundation
import Testing

@Suite struct DocumentTests {
    @Test func `every relative link of every document leads to something`() throws {
        // One implementation for `make check` and for this test.
        let check = Process()
        check.executableURL = SourceTree.root.appending(path: "scripts/check-docs.sh")
        let output = Pipe()
        check.standardError = output
        try check.run()
        let complaints = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        check.waitUntilExit()
        #expect(check.terminationStatus == 0, "\(complaints)")
    }

    @Test func `every failure code is explained in docs-workers`() throws {
        let text = try SourceTree.text("docs/workers.md")
        for code in Failure.Code.allCases {
            #expect(text.contains("| `\(code.name)` |"), "docs/workers.md has no row for \(code.name)")
        }
    }

    @Test func `every limit of the model is enforced somewhere`() throws {
        let declaration = #/static let (\w+)/#
        let files = try SourceTree.swift()
        let limits = try #require(files.first { $0.path == "Sources/ClusterModel/Limits.swift" })
        let names = limits.code.compactMap { $0.firstMatch(of: declaration).map { String($0.output.1) } }
        #expect(names.contains("sourceByteCount"))
        let others = files.filter { $0.path != limits.path }
        for name in names {
            let isUsed = others.contains { file in
                file.code.contains { line in
                    line.ranges(of: "Limits.\(name)").contains { range in
                        !(line[range.upperBound...].first.map { $0.isLetter || $0.isNumber } ?? false)
                    }
                }
            }
            #expect(isUsed, "Limits.\(name) is used nowhere")
        }
    }

    @Test func `the changelog has a section for what is not released`() throws {
        #expect(try SourceTree.text("CHANGELOG.md").contains("\n## Unreleased\n"))
    }
}
