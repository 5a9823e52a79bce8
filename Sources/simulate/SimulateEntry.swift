// `simulate`: figures of the membership core from worlds with virtual time. docs/membership.md explains them.

import ArgumentParser
internal import ClusterModel
internal import Membership
internal import Simulator

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs clusters of membership cores in virtual time and prints figures.",
        subcommands: [
            TargetsCommand.self, LoadCommand.self, CrashCommand.self, IdleCommand.self, PartitionCommand.self,
            StartCommand.self, TraceCommand.self, PlansCommand.self,
            ScaleCommand.self, ScenarioCommand.self, TradeOffsCommand.self,
            ClusterCommand.self, MutationsCommand.self,
        ],
        defaultSubcommand: TargetsCommand.self)
}

/// What all measurements take.
struct Common: ParsableArguments {
    @Option(help: "Of all chance. The same seed gives the same figures.")
    var seed: UInt64 = 1

    @Option(help: "Sizes of the cluster, with commas between them.")
    var nodes: String?

    @Option(name: .customLong("set"), help: "A parameter, as suspicionMinimumFactor=2; may be repeated.")
    var settings: [String] = []

    func sizes(_ standard: [Int]) throws -> [Int] {
        guard let nodes else { return standard }
        return try nodes.split(separator: ",").map { text in
            guard let count = Int(text), (1...5_000).contains(count) else {
                throw ValidationError("\"\(text)\" is no number of nodes between 1 and 5,000")
            }
            return count
        }
    }

    func measurement() throws -> Measurement {
        var measurement = Measurement(seed: seed)
        for setting in settings {
            let parts = setting.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let value = Double(parts[1]),
                measurement.configuration.set(parts[0], to: value)
            else { throw ValidationError("\"\(setting)\" is no parameter with a number") }
        }
        return measurement
    }
}

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "False deaths while every node is at 100 % CPU and 20 % of all packets are lost."
    )

    @OptionGroup var common: Common
    @Option(help: "Simulated hours.") var hours = 24.0

    func run() throws {
        let measurement = try common.measurement()
        var table = Table([
            "nodes", "hours", "false deaths", "suspicions", "refuted", "kbit/s sent", "load age s", "99 %",
        ])
        for size in try common.sizes([2, 3, 5, 10]) {
            var figures = measurement.falseDeaths(nodes: size, hours: hours)
            table.add([
                "\(size)", figures.hours.text(1), "\(figures.deaths)", "\(figures.suspicions)",
                "\(figures.refutations)", figures.sentKilobitsPerSecond.text(1), figures.loadAge.median().text(1),
                figures.loadAge.percentile99().text(1),
            ])
        }
        print(table.text, terminator: "")
    }
}

struct CrashCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crash", abstract: "Time until all know of a crash.")

    @OptionGroup var common: Common
    @Option(help: "Crashes for each size.") var trials = 200
    @Flag(help: "Every node at 100 % CPU, 20 % loss.") var loaded = false
    @Flag(help: "Only the process ends; its machine refuses TCP.") var process = false

    func run() throws {
        let measurement = try common.measurement()
        var table = Table([
            "nodes", "crashes", "suspected s", "convicted s", "known to all s", "99 %", "unknown", "false deaths",
        ])
        for size in try common.sizes([2, 3, 5, 10, 100]) {
            var crashes = measurement.crashes(
                nodes: size, trials: trials, isLoaded: loaded, withMachine: !process)
            table.add([
                "\(size)", "\(crashes.known.count)", crashes.suspected.median().text(2),
                crashes.convicted.median().text(2), crashes.known.median().text(2),
                crashes.known.percentile99().text(2), "\(crashes.unknown)", "\(crashes.falseDeaths)",
            ])
        }
        print(table.text, terminator: "")
    }
}

struct IdleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle", abstract: "Traffic of a cluster at rest, and the age of what nodes know of others' loads.")

    @OptionGroup var common: Common

    func run() throws {
        let measurement = try common.measurement()
        var table = Table(["nodes", "kbit/s sent", "kbit/s received", "datagrams/s sent", "load age s", "99 %"])
        for size in try common.sizes([2, 3, 5, 10, 100, 1_000]) {
            var idle = measurement.idle(nodes: size)
            table.add([
                "\(size)", idle.sentKilobitsPerSecond.text(2), idle.receivedKilobitsPerSecond.text(2),
                idle.datagramsPerSecond.text(2), idle.loadAge.median().text(1), idle.loadAge.percentile99().text(1),
            ])
        }
        print(table.text, terminator: "")
    }
}

struct PartitionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "partition", abstract: "Halves that were apart for an hour: time until all agree again.")

    @OptionGroup var common: Common
    @Option(help: "Worlds for each size.") var trials = 5

    func run() throws {
        let measurement = try common.measurement()
        var table = Table(["nodes", "worlds", "agree after s", "longest", "never"])
        for size in try common.sizes([2, 3, 5, 10, 100]) {
            var times = Distribution()
            for trial in 0..<trials {
                if let time = measurement.partition(nodes: size, seedOffset: UInt64(trial)) { times.add(time) }
            }
            table.add([
                "\(size)", "\(trials)", times.median().text(1), times.maximum.text(1), "\(trials - times.count)",
            ])
        }
        print(table.text, terminator: "")
    }
}

struct StartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "All nodes start at once through one seed: time until all agree.")

    @OptionGroup var common: Common
    @Option(help: "Worlds for each size.") var trials = 10

    func run() throws {
        let measurement = try common.measurement()
        var table = Table(["nodes", "worlds", "agree after s", "longest", "never"])
        for size in try common.sizes([2, 3, 5, 10, 100]) {
            var times = Distribution()
            for trial in 0..<trials {
                if let time = measurement.start(nodes: size, seedOffset: UInt64(trial)) { times.add(time) }
            }
            table.add([
                "\(size)", "\(trials)", times.median().text(1), times.maximum.text(1), "\(trials - times.count)",
            ])
        }
        print(table.text, terminator: "")
    }
}
