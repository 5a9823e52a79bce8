// Whole nodes with an instant worker: ledger on disk, gossip, calls between nodes and admin service as in `node`, without
// recognition. `Benchmarks/cluster_jobs.py` starts the processes, kills some, and prints the figures.

import ArgumentParser

@main
struct BenchCluster: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-cluster", abstract: "Measure a cluster whose workers answer at once.",
        subcommands: [NodeCommand.self, WorkCommand.self])
}
