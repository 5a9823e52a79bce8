// Narrated scenarios: a short script and what happened, as text that people read and a test compares.
//
//     # comment
//     nodes a b c
//     0 start a            a process starts, alone
//     1 start b via a      … and joins through a; also `start all via a`
//     20 kill b            the process ends without a word; its machine refuses TCP
//     20 lose b            the machine is gone
//     30 restart b         with a new boot and the members it remembers; `via a` adds a seed
//     20 pause b           SIGSTOP            25 continue b
//     20 leave b           20 leave-for-restart b
//     20 drain b           it says that it goes            25 serve b      … and that it stays
//     20 partition a b | c
//     20 cut a > b         one direction      20 cut-udp a b    datagrams of both directions
//     60 mend              all paths work again
//     20 clone a as x via b
//     20 lossy 20          per cent           20 stall          100 % CPU everywhere      40 calm
//     40 end               how long to run; the views are printed then

internal import ClusterModel
internal import Membership

package struct Scenario {
    package struct SyntaxError: Error, CustomStringConvertible {
        package let line: Int
        package let what: String
        package var description: String { "line \(line): \(what)" }
    }

    private struct Command {
        let line: Int
        let time: Instant
        let words: [String]
    }

    private var names: [String] = []
    private var commands: [Command] = []

    package init(_ text: String) throws(SyntaxError) {
        for (position, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.prefix { $0 != "#" }.split(separator: " ").map(String.init)
            guard let first = words.first else { continue }
            if first == "nodes" {
                names += words.dropFirst()
                continue
            }
            guard let seconds = Double(first), seconds >= 0, words.count > 1 else {
                throw SyntaxError(line: position + 1, what: "a command begins with its time in seconds")
            }
            let time = Instant(nanoseconds: Int64(seconds * 1e9))
            commands.append(Command(line: position + 1, time: time, words: Array(words.dropFirst())))
        }
    }

    /// Runs it and tells what happened, a line for each event.
    package func run(seed: UInt64, tracesAll: Bool = false) throws(SyntaxError) -> String {
        let world = World(seed: seed)
        for name in names { world.addNode(name: name) }
        var lines: [String] = []
        let tell = { (world: World, name: String, what: String) in
            let seconds = (Double(world.now.nanoseconds) / 1e9).text(2)
            let time = String(repeating: " ", count: max(0, 7 - seconds.count)) + seconds
            lines.append("\(time)  \(name)\(String(repeating: " ", count: max(1, 6 - name.count)))\(what)")
        }
        if tracesAll { world.onTrace = { world, node, text in tell(world, node.name, text) } }
        world.onEvent = { world, node, event in tell(world, node.name, world.text(event)) }
        world.onEnd = { world, node, effect in
            if case .refuseToRun(let duplicate) = effect {
                let other = world.node(at: duplicate.otherEndpoint)?.name ?? "somebody"
                let time = duplicate.otherUptime.inSeconds.text(1)
                tell(world, node.name, "stops: \(other) has the same id and has run for \(time) s")
            } else {
                tell(world, node.name, "has said good-bye and ends")
            }
        }
        for command in commands {
            world.run(until: command.time)
            tell(world, "*", command.words.joined(separator: " "))
            try carryOut(command, in: world)
        }
        world.onEvent = nil
        for node in world.nodes { lines.append("\(node.name): \(Self.view(of: node, in: world))") }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func view(of node: SimulatedNode, in world: World) -> String {
        guard node.isRunning else { return "does not run" }
        return node.core.members.map { member in
            let standing = member.facts.standing == .serving ? "" : " (\(member.facts.standing))"
            return "\(world.name(of: member.identity.id)) \(member.status)\(standing)"
        }.joined(separator: ", ")
    }

    private func carryOut(_ command: Command, in world: World) throws(SyntaxError) {
        var words = command.words
        var seeds: [SimulatedNode] = []
        if let place = words.firstIndex(of: "via") {
            seeds = try nodes(words[(place + 1)...], in: world, command.line)
            words.removeSubrange(place...)
        }
        let verb = words.removeFirst()
        switch verb {
        case "start", "restart":
            for node in try nodes(words[...], in: world, command.line) { world.start(node, seeds: seeds) }
        case "kill": for node in try nodes(words[...], in: world, command.line) { world.crash(node) }
        case "lose":
            for node in try nodes(words[...], in: world, command.line) { world.crash(node, withMachine: true) }
        case "pause": for node in try nodes(words[...], in: world, command.line) { world.pause(node) }
        case "continue": for node in try nodes(words[...], in: world, command.line) { world.goOn(node) }
        case "leave": for node in try nodes(words[...], in: world, command.line) { world.leave(node) }
        case "leave-for-restart":
            for node in try nodes(words[...], in: world, command.line) { world.leaveForRestart(node) }
        case "drain", "serve":
            for node in try nodes(words[...], in: world, command.line) {
                world.change(node, to: verb == "drain" ? .draining : .serving)
            }
        case "partition":
            let groups = words.split(separator: "|").map(Array.init)
            world.partition { node in groups.firstIndex { $0.contains(node.name) } ?? 0 }
        case "cut":
            let pair = try nodes(words.filter { $0 != ">" }[...], in: world, command.line)
            guard pair.count == 2 else { throw SyntaxError(line: command.line, what: "cut a > b") }
            world.cut(from: pair[0], to: pair[1])
        case "cut-udp":
            let pair = try nodes(words[...], in: world, command.line)
            guard pair.count == 2 else { throw SyntaxError(line: command.line, what: "cut-udp a b") }
            world.cutDatagrams(from: pair[0], to: pair[1])
            world.cutDatagrams(from: pair[1], to: pair[0])
        case "mend": world.mendPaths()
        case "clone":
            guard words.count == 3, words[1] == "as" else {
                throw SyntaxError(line: command.line, what: "clone a as x via b")
            }
            let original = try nodes(words[0...0], in: world, command.line)[0]
            world.start(world.addNode(name: words[2], cloneOf: original), seeds: seeds, keepsBoot: true)
        case "lossy": world.network = .losing((words.first.flatMap { Double($0) } ?? 0) / 100)
        case "stall": world.stall(.saturated)
        case "calm": world.stall(nil)
        case "end": break
        default: throw SyntaxError(line: command.line, what: "\"\(verb)\" is no command")
        }
    }

    private func nodes(
        _ names: ArraySlice<String>, in world: World, _ line: Int
    ) throws(SyntaxError) -> [SimulatedNode] {
        var found: [SimulatedNode] = []
        for name in names {
            if name == "all" {
                found += world.nodes
            } else if let node = world.nodes.first(where: { $0.name == name }) {
                found.append(node)
            } else {
                throw SyntaxError(line: line, what: "there is no node \"\(name)\"")
            }
        }
        return found
    }
}
