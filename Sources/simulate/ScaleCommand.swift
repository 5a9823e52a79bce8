// `simulate scale`: what a large cluster makes of its slots. docs/scale.md explains the figures.

import ArgumentParser
internal import ClusterModel
internal import Simulator

#if canImport(Glibc)
    import Glibc
#endif

struct ScaleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale", abstract: "Efficiency of large clusters in virtual time, with durations of real pages.")

    @Option(help: "Of all chance. The same seed gives the same figures.") var seed: UInt64 = 1
    @Option(help: "Jobs of each scenario.") var jobs = 340_000
    @Option(help: "Machines.") var nodes = 200
    @Option(help: "Slots of each.") var slots = 8
    @Option(help: "With commas between them: even, skewed, mixed, replaced, flat.")
    var scenarios = "even,skewed,mixed,replaced,flat"
    @Option(help: "Machines that are replaced in that scenario.") var replacements = 20
    @Option(help: "Sizes of the clusters whose costs are compared.") var flatNodes = "10,100,200,1000"
    @Option(help: "Jobs for each slot in that comparison.") var flatJobs = 50
    @Flag(help: "Tells of the progress on stderr.") var progress = false
    @Option(help: "Virtual seconds from one report of the progress to the next.") var interval = 30

    func validate() throws {
        guard (1...5_000).contains(nodes), (1...64).contains(slots), jobs >= 100, flatJobs >= 1, interval >= 1 else {
            throw ValidationError("a cluster has 1 to 5,000 nodes of 1 to 64 slots, and 100 jobs at least")
        }
    }

    func run() throws {
        var isMissed = false
        var table = Table([
            "scenario", "jobs", "nodes", "slots", "busy %", "makespan / ideal", "/ perfect queue", "duplicates %",
            "stolen %", "messages / job", "kB / job", "writes / job", "hours", "wall s", "",
        ])
        for name in scenarios.split(separator: ",") where name != "flat" {
            let plan: ScalePlan
            switch name {
            case "even": plan = .even(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
            case "skewed": plan = .skewed(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
            case "mixed": plan = .mixed(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
            case "replaced":
                plan = .replaced(nodes: nodes, slots: slots, jobs: jobs, count: replacements, seed: seed)
            default: throw ValidationError("there is no scenario \"\(name)\"")
            }
            let (figures, wall) = try measure(plan)
            if !figures.missed.isEmpty { isMissed = true }
            table.add([
                plan.name, "\(plan.jobCount)", "\(plan.machines.count)", "\(plan.slotCount)",
                (figures.busyShare * 100).text(2), figures.ratio.text(3), figures.queueRatio.text(3),
                (figures.duplicateShare * 100).text(3), (figures.stolenShare * 100).text(1),
                figures.perJob(figures.messages).text(1), (figures.perJob(figures.bytes) / 1_000).text(1),
                figures.perJob(figures.writes).text(1), (figures.makespan.inSeconds / 3_600).text(2),
                wall.inSeconds.text(0),
                figures.missed.isEmpty ? "met" : "MISSED: " + figures.missed.joined(separator: ", "),
            ])
            if figures.replaced > 0 {
                var drains = figures.drains
                tell(
                    "\(plan.name): drained in \(drains.median().text(0)) s in the median, "
                        + "\(drains.maximum.text(0)) s at most\n")
            }
        }
        if !table.rows.isEmpty { print(table.text) }
        if scenarios.split(separator: ",").contains("flat") { try compareSizes() }
        if isMissed { throw ExitCode(1) }
    }

    /// What coordination costs a node, by the size of the cluster.
    private func compareSizes() throws {
        var table = Table([
            "nodes", "jobs", "messages / job", "kB / job", "writes / job", "messages / node and hour",
            "MB / node and hour", "writes / node and hour", "busy %", "stolen %", "wall s",
        ])
        for text in flatNodes.split(separator: ",") {
            guard let size = Int(text), (1...5_000).contains(size) else {
                throw ValidationError("\"\(text)\" is no number of nodes between 1 and 5,000")
            }
            let plan = ScalePlan.even(nodes: size, slots: slots, jobs: size * slots * flatJobs, seed: seed)
            let (figures, wall) = try measure(plan)
            table.add([
                "\(size)", "\(plan.jobCount)", figures.perJob(figures.messages).text(1),
                (figures.perJob(figures.bytes) / 1_000).text(1), figures.perJob(figures.writes).text(1),
                figures.perNodeHour(figures.messages).text(0), (figures.perNodeHour(figures.bytes) / 1_000_000).text(0),
                figures.perNodeHour(figures.writes).text(0), (figures.busyShare * 100).text(2),
                (figures.stolenShare * 100).text(1), wall.inSeconds.text(0),
            ])
        }
        print(table.text, terminator: "")
    }

    private func measure(_ plan: ScalePlan) throws -> (ScaleFigures, Duration) {
        let world = ScaleWorld(plan: plan)
        world.progressInterval = .seconds(interval)
        let clock = ContinuousClock()
        let began = clock.now
        if progress {
            world.onProgress = { world in
                tell(
                    "\(plan.name), \(plan.machines.count) nodes: \((world.now - .origin).inSeconds.text(0)) s, "
                        + "\(world.doneCount) done, \(world.idleSlots) idle, \(world.waiting) wait, "
                        + "\(world.behind) behind others, busy \((world.busyShare * 100).text(2)) %, "
                        + "wall \((clock.now - began).inSeconds.text(1)) s\n")
            }
        }
        let figures = try world.run()
        return (figures, clock.now - began)
    }

    /// On stderr: the table alone is the output.
    private func tell(_ text: String) {
        var line = text
        line.withUTF8 { bytes in _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
    }
}
