// `simulate trace`: what happens at each node around the first false death, or from the start.

import ArgumentParser
internal import ClusterModel
internal import Membership
internal import Simulator

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "All that arrives and is sent, under load, before the first false death.")

    @OptionGroup var common: Common
    @Option(help: "Simulated hours until it is given up.") var hours = 24.0
    @Option(help: "Lines before the verdict.") var lines = 400

    func run() throws {
        let measurement = try common.measurement()
        let world = measurement.cluster(try common.sizes([10])[0], seed: common.seed)
        world.network = .losing(0.2)
        world.stall(.saturated)
        var ring: [String] = []
        let limit = lines
        world.onTrace = { world, node, text in
            let seconds = Double(world.now.nanoseconds / 1_000_000) / 1_000
            ring.append("\(seconds.text(3)) \(node.name) [\(node.core.localHealth)] \(text)")
            if ring.count > 2 * limit { ring.removeFirst(limit) }
        }
        var victim: String?
        world.onEvent = { world, _, event in
            if case .died(let id, _) = event, victim == nil {
                victim = world.name(of: id)
                world.eventLimit = world.eventCount
            }
        }
        world.onHold = { world, node, duration in
            world.onTrace?(world, node, "stalled for \(duration.inSeconds.text(3)) s")
        }
        world.run(for: .seconds(Int64(hours * 3_600)))
        for line in ring.suffix(limit) { print(line) }
        print("victim: \(victim ?? "nobody")")
    }
}
