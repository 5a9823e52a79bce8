// `simulate plans`: many seeds of drawn faults, each checked.

import ArgumentParser
internal import ClusterModel
internal import Simulator

struct PlansCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plans", abstract: "Faults drawn from seeds: safety after every step, agreement after healing.")

    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "How many seeds.") var seeds = 100
    @Flag(help: "Print all that happens; for one seed.") var trace = false
    @Flag(help: "Print the faults of each seed.") var verbose = false

    func run() throws {
        var failed = 0
        var times = Distribution()
        var events = 0
        for seed in seed..<seed + UInt64(seeds) {
            let outcome = FaultPlan(seed: seed).run(
                trace: trace
                    ? { world, node, text in
                        print("\((Double(world.now.nanoseconds) / 1e9).text(3)) \(node.name) \(text)")
                    } : nil)
            events += outcome.eventCount
            if let time = outcome.secondsToAgree { times.add(time) }
            if verbose || !outcome.violations.isEmpty {
                print("seed \(seed), trace hash \(outcome.hash)")
                for fault in outcome.faults { print("    \(fault)") }
                for violation in outcome.violations { print("  ! \(violation)") }
            }
            if !outcome.violations.isEmpty { failed += 1 }
        }
        print(
            Table([
                Figure("seeds", "\(seeds)"), Figure("events", "\(events)"),
                Figure("seeds with a violation", "\(failed)", target: ("0", failed == 0)),
                Figure("agreement after healing, median", times.median().text(1) + " s"),
                Figure("the same, longest", times.maximum.text(1) + " s"),
            ]).text, terminator: "")
        if failed > 0 { throw ExitCode(1) }
    }
}
