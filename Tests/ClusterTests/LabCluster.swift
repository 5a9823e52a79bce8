// Some nodes in a lab, and waiting for what they see.

import Foundation
import Testing

final class LabCluster {
    let lab: NetworkLab
    private(set) var nodes: [Int: LabNode] = [:]

    /// A cluster of nodes 1 to `count`, formed through the first, in which all see each other alive.
    ///
    /// - Parameters:
    ///   - configuration: the text of every node's cluster.conf.
    ///   - prepare: is given each node before its first start.
    init(
        nodes count: Int, of room: Int? = nil, configuration: String = "",
        prepare: (LabNode) throws -> Void = { _ in }
    ) async throws {
        lab = try NetworkLab(nodes: room ?? count)
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: lab.configuration))
        for number in 1...count {
            let node = LabNode(number, in: lab)
            nodes[number] = node
            try prepare(node)
            try node.start(through: number == 1 ? [] : [1])
        }
        try await eventually("\(count) nodes see each other alive") {
            await self.allSee(.init(self.nodes.keys), "alive")
        }
    }

    subscript(number: Int) -> LabNode {
        get throws { try #require(nodes[number], "there is no node \(number)") }
    }

    func add(_ node: LabNode) { nodes[node.number] = node }

    var running: [LabNode] { nodes.values.filter(\.isRunning).sorted { $0.number < $1.number } }

    var names: [String] { nodes.values.map(\.name).sorted() }

    // MARK: Views

    /// Whether all of `observers` (all that run, when nil) see all of `members` in that state.
    func allSee(_ members: [Int], _ state: String, observers: [Int]? = nil) async -> Bool {
        await allSee(members, observers: observers) { $0.state == state }
    }

    func allSee(
        _ members: [Int], observers: [Int]? = nil, where condition: (MemberRow) -> Bool
    ) async -> Bool {
        for observer in running where observers?.contains(observer.number) ?? true {
            let view = await observer.members()
            for member in members {
                guard let name = nodes[member]?.name, let row = view[name], condition(row) else { return false }
            }
        }
        return true
    }

    /// Which members were ever declared dead, by any node's log, those killed since included.
    var everDead: Set<String> {
        nodes.values.reduce(into: []) { $0.formUnion($1.convicted(of: names)) }
    }

    // MARK: Waiting

    /// Looks again until the condition holds; a generous deadline, no race. While it waits, other suites run.
    func eventually(
        _ what: String, seconds: Double = 120, _ condition: () async throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(seconds)
        while try await !condition() {
            guard ContinuousClock.now < end else {
                throw LabError(description: "\(what): not within \(seconds) s\n" + (await report()))
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// For so long nobody is declared dead and nobody ends: looked up in every node's log, where a short mistake stays
    /// as well.
    func nobodyDies(forSeconds seconds: Double) async throws {
        let (end, before, count) = (ContinuousClock.now + .seconds(seconds), everDead, running.count)
        while ContinuousClock.now < end {
            let dead = everDead.subtracting(before)
            guard dead.isEmpty, running.count == count else {
                throw LabError(
                    description: "declared dead: \(dead.sorted()), \(running.count) of \(count) nodes run\n"
                        + (await report()))
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// Everything one would want to know of a failure: who sees what, and the ends of the logs.
    func report() async -> String {
        var text = ""
        for node in nodes.values.sorted(by: { $0.number < $1.number }) {
            let view =
                node.isRunning
                ? "\(await node.members().sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" })" : "not running"
            text +=
                "---- \(node.name): \(view)\n" + node.log.split(separator: "\n").suffix(25).joined(separator: "\n")
                + "\n"
        }
        return text
    }
}

/// Processes that use all CPU there is, many for each core; they end by themselves in time, or with the lab.
final class BusyLoops {
    private let processes: [Process]

    init(_ count: Int, seconds: Int, in lab: NetworkLab) throws {
        processes = try (0..<count).map { _ in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments =
                ["ip", "netns", "exec", lab.namespace(1), "bash", "-c"]
                + ["while [ $SECONDS -lt \(seconds) ]; do :; done"]
            process.environment = NetworkLab.environment
            try process.run()
            return process
        }
    }

    var areRunning: Bool { processes.allSatisfy(\.isRunning) }

    func end() {
        for process in processes where process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    deinit { end() }
}
