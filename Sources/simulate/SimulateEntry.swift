import ClusterModel
import Membership
import Simulator

@main struct SimulateEntry {
    static func main() {
        let n = Int(CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "10") ?? 10
        let secs = Int(CommandLine.arguments.count > 2 ? CommandLine.arguments[2] : "60") ?? 60
        let loaded = CommandLine.arguments.count > 3
        let world = World(seed: 1)
        var counts: [String: Int] = [:]
        world.onEvent = { world, node, event in
            let name = String("\(event)".prefix { $0 != "(" })
            counts[name, default: 0] += 1
            if case .died(let id, let accuser) = event {
                let victim = world.nodes.first { $0.id == id }!, by = world.nodes.first { $0.id == accuser }!
                print(world.now.nanoseconds / 1_000_000, node.name, "died", victim.name, by.name, victim.isRunning)
            }
        }
        for _ in 0..<n { world.addNode() }
        for node in world.nodes { world.start(node, seeds: [world.nodes[0]]) }
        let t = world.run(within: .seconds(120)) { $0.agrees }
        print("agree", t as Any, world.eventCount)
        if loaded { world.stall(.saturated); world.network.loss = 0.2 }
        for node in world.nodes { node.resetTraffic() }
        let c = world.eventCount
        let began = ContinuousClock.now
        world.run(for: .seconds(secs))
        let took = ContinuousClock.now - began
        print("events", world.eventCount - c, took, Double(world.eventCount - c) / took.inSeconds)
        let sent = world.nodes.reduce(0) { $0 + $1.sentByteCount } * 8 / n / secs
        let dg = world.nodes.reduce(0) { $0 + $1.sentDatagramCount }
        print("sent bit/s/node", sent, "datagrams/s/node", Double(dg) / Double(n * secs), world.hash.value)
        print(counts.sorted { $0.key < $1.key })
        print(world.nodes[0].core.counters)
    }
}
