// `simulate scenario FILE`: tells a narrated scenario (see Sources/Simulator/Scenario.swift for the words of its script).

import ArgumentParser
import Foundation
internal import Simulator

struct ScenarioCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scenario", abstract: "Runs a narrated scenario and prints what happens.")

    @Argument(help: "The file; what stands below its line \"---\" is not read.") var file: String
    @Option(help: "Of all chance.") var seed: UInt64 = 1
    @Flag(help: "All that arrives and is sent, too.") var trace = false

    func run() throws {
        let text = try String(contentsOf: URL(filePath: file), encoding: .utf8)
        let script = text.range(of: "\n---").map { String(text[..<$0.lowerBound]) } ?? text
        print(try Scenario(script).run(seed: seed, tracesAll: trace), terminator: "")
    }
}
