// `simulate cluster`: whole nodes under drawn faults, many seeds.

import ArgumentParser
internal import ClusterModel
internal import Coordination
internal import Dispatch
internal import Simulator
internal import Synchronization

struct ClusterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "Whole nodes under faults drawn from seeds: nothing lost, everything finished after healing.")

    @Option(help: "How many seeds.") var seeds = 1_000
    @Option(help: "The first seed.") var first: UInt64 = 1
    @Option(help: "Sizes of the clusters, as 1-9.") var nodes = "1-9"
    @Option(help: "Kinds of faults, with commas between them; drawn by the seed if left out.") var faults: String?
    @Option(help: "Break the nodes on purpose.") var sabotage: String?
    @Option(help: "Cores to use.") var jobs = 1
    @Option(help: "Print all that happens with one seed.") var trace: UInt64?
    @Flag(help: "Print the faults and the hash of each seed.") var verbose = false

    private func plan(_ seed: UInt64) throws -> ClusterPlan {
        var plan = ClusterPlan(seed: seed)
        let sizes = nodes.split(separator: "-").compactMap { Int($0) }
        guard let low = sizes.first, let high = sizes.last, low >= 1, low <= high, high <= 100 else {
            throw ValidationError("\"\(nodes)\" are no sizes of clusters")
        }
        plan.nodes = low...high
        if let faults {
            plan.kinds = try faults.split(separator: ",").map { name in
                guard let kind = ClusterPlan.Fault(rawValue: String(name)) else {
                    throw ValidationError("there is no fault \"\(name)\"")
                }
                return kind
            }
        }
        if let sabotage {
            guard let kind = Sabotage(rawValue: sabotage) else {
                throw ValidationError("there is no sabotage \"\(sabotage)\"")
            }
            plan.sabotage = [kind]
        }
        return plan
    }

    func run() throws {
        if let trace { return try runTraced(trace) }
        _ = try plan(first)
        let tally = Tally(isVerbose: verbose, seedCount: seeds)
        let next = Atomic<Int>(0)
        let cores = max(1, jobs)
        DispatchQueue.concurrentPerform(iterations: cores) { _ in
            while true {
                let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard number < seeds, let plan = try? plan(first + UInt64(number)) else { return }
                tally.note(plan.seed, plan.run())
            }
        }
        tally.summarise()
        if tally.failedCount > 0 { throw ExitCode(1) }
    }

    private func runTraced(_ seed: UInt64) throws {
        let outcome = try plan(seed).run { world, node, text in
            print("\((Double(world.now.nanoseconds) / 1e9).text(3)) \(node.name) \(text)")
        }
        Tally.print(seed, outcome)
        if !outcome.violations.isEmpty { throw ExitCode(1) }
    }
}

/// What many seeds have shown; lines are printed as they come.
private final class Tally: Sendable {
    private struct State {
        var seeds = 0
        var failed: [UInt64] = []
        var steps = 0
        var jobs = 0
        var duplicates = 0
        var rest = Distribution()
        var nextReport = ContinuousClock.now + .seconds(10)
    }

    private let state = Mutex(State())
    private let isVerbose: Bool
    private let seedCount: Int
    private let start = ContinuousClock.now

    init(isVerbose: Bool, seedCount: Int) {
        self.isVerbose = isVerbose
        self.seedCount = seedCount
    }

    var failedCount: Int { state.withLock { $0.failed.count } }

    private var seconds: Double { (ContinuousClock.now - start).inSeconds }

    func note(_ seed: UInt64, _ outcome: ClusterPlan.Outcome) {
        state.withLock { state in
            state.seeds += 1
            state.steps += outcome.stepCount
            state.jobs += outcome.jobCount
            state.duplicates += outcome.duplicates
            if let time = outcome.secondsToRest { state.rest.add(time) }
            if !outcome.violations.isEmpty { state.failed.append(seed) }
            if isVerbose || !outcome.violations.isEmpty { Self.print(seed, outcome) }
            guard ContinuousClock.now >= state.nextReport else { return }
            state.nextReport = ContinuousClock.now + .seconds(10)
            let rate = Double(state.seeds) / seconds * 60
            Swift.print("\(state.seeds) of \(seedCount) seeds, \(rate.text(0)) a minute, \(state.failed.count) failed")
        }
    }

    static func print(_ seed: UInt64, _ outcome: ClusterPlan.Outcome) {
        Swift.print(
            "seed \(seed), trace hash \(outcome.hash), \(outcome.jobCount) jobs, \(outcome.stepCount) steps, "
                + "\(outcome.duplicates) of \(outcome.duplicatesAllowed) duplicates")
        for fault in outcome.faults { Swift.print("    \(fault)") }
        for violation in outcome.violations {
            Swift.print("  ! \(violation.milliseconds) ms: \(violation.checker.rawValue): \(violation.text)")
        }
    }

    func summarise() {
        state.withLock { state in
            Swift.print(
                Table([
                    Figure("seeds", "\(state.seeds)"),
                    Figure("seeds a minute", "\((Double(state.seeds) / seconds * 60).text(0))"),
                    Figure("steps", "\(state.steps)"), Figure("jobs", "\(state.jobs)"),
                    Figure("jobs run once more", "\(state.duplicates)"),
                    Figure("at rest after healing, median", state.rest.median().text(1) + " s"),
                    Figure("the same, longest", state.rest.maximum.text(1) + " s"),
                    Figure("seeds with a violation", "\(state.failed.count)", target: ("0", state.failed.isEmpty)),
                ]).text, terminator: "")
            if !state.failed.isEmpty { Swift.print("failed: \(state.failed.sorted())") }
        }
    }
}
