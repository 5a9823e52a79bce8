// `simulate mutations`: nodes that are broken on purpose must be caught.

import ArgumentParser
internal import ClusterModel
internal import Coordination
internal import Simulator

struct MutationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mutations", abstract: "Breaks nodes on purpose, one way after the other, until a checker sees it."
    )

    @Option(help: "Seeds that are tried for each.") var seeds: UInt64 = 1_000

    func run() throws {
        guard seeds > 0 else { throw ValidationError("at least one seed is needed") }
        var table = Table(["broken on purpose", "seed", "seen by", "as"])
        var missed = 0
        for mutation in Mutation.all {
            guard let finding = mutation.find(in: 1...seeds) else {
                table.add([mutation.sabotage.rawValue, "none of \(seeds)", "NOBODY", ""])
                missed += 1
                continue
            }
            table.add([
                mutation.sabotage.rawValue, "\(finding.seed)", finding.violation.checker.rawValue,
                finding.violation.text,
            ])
        }
        print(table.text, terminator: "")
        if missed > 0 { throw ExitCode(1) }
    }
}
