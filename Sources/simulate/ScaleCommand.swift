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
    @Option(help: "Scenarios, with commas between them: even, skewed, mixed, replaced, flat.")
    var scenarios = "even,skewed,mixed,replaced,flat"
    @Option(help: "Machines that are replaced in that scenario.") var replacements = 20
    @Option(help: "Sizes of the clusters whose costs are compared.") var flatNodes = "10,100,200,1000"
    @Option(help: "Jobs for each slot in that comparison.") var flatJobs = 100
    @Flag(help: "Tells of the progress on stderr.") var progress = false

    func run() throws {
        for name in scenarios.split(separator: ",") {
            switch name {
            case "even": try show(.even(nodes: nodes, slots: slots, jobs: jobs, seed: seed))
            case "skewed": try show(.skewed(nodes: nodes, slots: slots, jobs: jobs, seed: seed))
            case "mixed": try show(.mixed(nodes: nodes, slots: slots, jobs: jobs, seed: seed))
            case "replaced":
                try show(.replaced(nodes: nodes, slots: slots, jobs: jobs, count: replacements, seed: seed))
            default: throw ValidationError("there is no scenario \"\(name)\"")
            }
        }
    }

    func show(_ plan: ScalePlan) throws {
        let world = ScaleWorld(plan: plan)
        let clock = ContinuousClock()
        let began = clock.now
        if progress {
            world.onProgress = { world in
                var line =
                    "\(plan.name): \((world.now - .origin).inSeconds.text(0)) s, \(world.doneCount) done, "
                    + "\(world.idleSlots) idle, busy \((world.busyShare * 100).text(2)) %, "
                    + "wall \((clock.now - began).inSeconds.text(1)) s\n"
                line.withUTF8 { bytes in _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count) }
            }
        }
        let f = try world.run()
        print(
            plan.name, "ended", f.hasEnded, "busy", (f.busyShare * 100).text(2), "ratio", f.ratio.text(4), "queue",
            f.queueRatio.text(4), "makespan", f.makespan.inSeconds.text(1), "dup", f.runs - plan.jobCount, "stolen",
            (f.stolenShare * 100).text(1), "backups", f.backups, "expired", f.leasesExpired, "msg", f.messagesPerJob.text(2),
            "B", f.bytesPerJob.text(0), "writes", f.writesPerJob.text(2), "steps", f.steps, "pending", f.pendingLeft,
            "off", f.copiesOff, "replaced", f.replaced, "cut", f.cutOff, "wall",
            (clock.now - began).inSeconds.text(1))
    }
}
