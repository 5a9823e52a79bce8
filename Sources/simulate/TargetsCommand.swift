// `simulate targets`: every target of docs/membership.md, measured and called met or missed. `simulate trade-offs`: the
// figures that pull against each other, from which the defaults were chosen.

import ArgumentParser
internal import Simulator

struct TargetsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "targets", abstract: "All targets, each met or missed.")

    @OptionGroup var common: Common
    @Option(help: "Simulated hours under load, at up to 10 nodes; 100 nodes and more take a twentieth of it.")
    var hours = 24.0
    @Option(help: "Crashes for each size.") var trials = 200

    func run() throws {
        let measurement = try common.measurement()
        var figures: [Figure] = []
        for size in try common.sizes([2, 3, 5, 10, 100]) {
            let time = size > 10 ? hours / 20 : hours
            let loaded = measurement.falseDeaths(nodes: size, hours: time)
            figures.append(
                Figure(
                    "\(size) nodes: false deaths in \(time.text(1)) h at 100 % CPU, 20 % loss", "\(loaded.deaths)",
                    target: ("0", loaded.deaths == 0)))
            var crashes = measurement.crashes(nodes: size, trials: trials, isLoaded: false)
            let known = crashes.known.median() ?? .infinity
            let bound: Double? = size == 10 ? 5 : size == 100 ? 9 : nil
            figures.append(
                Figure(
                    "\(size) nodes: crash known to all, median (99 %)",
                    "\(known.text(2)) (\(crashes.known.percentile99().text(2))) s",
                    target: bound.map { ("<= \($0.text(0)) s", known <= $0) }))
            let idle = measurement.idle(nodes: size)
            let sent = idle.sentKilobitsPerSecond
            figures.append(
                Figure(
                    "\(size) nodes: sent (and received) per node at rest",
                    "\(sent.text(2)) (\(idle.receivedKilobitsPerSecond.text(2))) kbit/s",
                    target: ("<= 10 kbit/s", sent <= 10)))
            let healed = measurement.partition(nodes: size)
            figures.append(
                Figure(
                    "\(size) nodes: halves apart for 1 h agree after", healed.text(1) + " s",
                    target: ("<= 60 s", (healed ?? .infinity) <= 60)))
            let started = measurement.start(nodes: size)
            figures.append(
                Figure(
                    "\(size) nodes: started at once, agree after", started.text(1) + " s",
                    target: size <= 100 ? ("<= 15 s", (started ?? .infinity) <= 15) : nil))
        }
        print(Table(figures).text, terminator: "")
        if figures.contains(where: { $0.target.map { !$0.isMet } ?? false }) { throw ExitCode(1) }
    }
}

struct TradeOffsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trade-offs", abstract: "One parameter varied at a time: what it gives and what it costs.")

    @OptionGroup var common: Common
    @Option(help: "Simulated hours under load.") var hours = 6.0
    @Option(help: "Crashes for each value.") var trials = 50

    private static let variants: [(name: String, values: [Double])] = [
        ("suspicionMinimumFactor", [1, 1.5, 2, 2.5, 3]), ("localHealthMaximum", [0, 1, 2, 3, 4, 8]),
        ("confirmations", [1, 2, 3, 4]), ("probeInterval", [0.7, 1, 1.5, 2]), ("gossipInterval", [0.1, 0.2, 0.4]),
        ("gossipFanout", [2, 3, 4]), ("indirectProbes", [1, 3, 5]),
    ]

    func run() throws {
        let size = try common.sizes([10])[0]
        var table = Table([
            "parameter", "value", "false deaths", "suspicions/h", "kbit/s under load", "kbit/s at rest",
            "crash s", "99 %", "crash under load s",
        ])
        for (name, values) in Self.variants {
            for value in values {
                var measurement = try common.measurement()
                guard measurement.configuration.set(name, to: value) else { continue }
                let loaded = measurement.falseDeaths(nodes: size, hours: hours)
                var crashes = measurement.crashes(nodes: size, trials: trials, isLoaded: false)
                var burdened = measurement.crashes(nodes: size, trials: trials / 2, isLoaded: true)
                let idle = measurement.idle(nodes: size, duration: .seconds(300))
                table.add([
                    name, value.text(1), "\(loaded.deaths)", (Double(loaded.suspicions) / hours).text(0),
                    loaded.sentKilobitsPerSecond.text(1), idle.sentKilobitsPerSecond.text(1),
                    crashes.known.median().text(2), crashes.known.percentile99().text(2),
                    burdened.known.median().text(1),
                ])
            }
        }
        print(table.text, terminator: "")
    }
}
