// The narrated scenarios: each file has a script, a line of three dashes, and what happens. `UPDATE_SCENARIOS=1 swift test
// --filter ScenarioTests` writes what happens anew; the difference is reviewed like code.

import Foundation
import Simulator
import Testing

@Suite struct ScenarioTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

    private static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return files.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    @Test(arguments: names)
    func `what happens is what the file says`(name: String) throws {
        let file = Self.folder.appending(path: name)
        let text = try String(contentsOf: file, encoding: .utf8)
        let parts = text.components(separatedBy: "\n---\n")
        let script = parts[0].hasSuffix("\n---") ? String(parts[0].dropLast(4)) : parts[0]
        let trace = try Scenario(script).run(seed: 1)
        if Environment.updatesScenarios {
            try (script + "\n---\n" + trace).write(to: file, atomically: true, encoding: .utf8)
            return
        }
        let expected = parts.count > 1 ? parts[1] : ""
        let difference = trace.split(separator: "\n").difference(from: expected.split(separator: "\n"))
        let lines = difference.map { change in
            switch change {
            case .insert(_, let line, _): "+ \(line)"
            case .remove(_, let line, _): "- \(line)"
            }
        }
        #expect(lines.isEmpty, "\(name) tells another story:\n\(lines.joined(separator: "\n"))")
    }

    @Test func `all scenarios are there`() { #expect(Self.names.count >= 13) }
}
