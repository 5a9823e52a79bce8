// Carries out a plan of faults on real nodes while they work.

import Foundation
import Glibc
import Testing

final class ChaosRun {
    let cluster: LabCluster
    let work: LabRun
    private let plan: ChaosPlan
    private let scale: ChaosScale
    private let start = ContinuousClock.now
    /// Nodes that are not to be touched by others' faults now.
    private var stopped: Set<Int> = []
    private var gone: Set<Int> = []
    private var restarts: [(at: ContinuousClock.Instant, node: Int)] = []
    private var drain: Drain?
    private var batches: [LabImages]
    /// What is to be submitted, in order, and the command that submits the first of it.
    private var submissions: [(images: LabImages, name: String, tries: Int)] = []
    private var submission: LabCommand?
    /// What was done, and when.
    private(set) var journal: [String] = []
    private(set) var drainSeconds: Double?

    private struct Drain {
        let node: Int
        let begun: ContinuousClock.Instant
        var command: LabCommand?
        var retryAt: ContinuousClock.Instant?
        var attempts: [String] = []
    }

    /// - Parameters:
    ///   - later: what is submitted while things go wrong, in order.
    init(_ plan: ChaosPlan, _ scale: ChaosScale, on cluster: LabCluster, work: LabRun, later: [LabImages]) {
        self.plan = plan
        self.scale = scale
        self.cluster = cluster
        self.work = work
        batches = later
    }

    /// Returns when everything was done that the plan says, and every node that is left runs and is reachable.
    func run() async throws {
        var left = plan.actions[...]
        while let next = left.first {
            if start + .seconds(next.at) <= .now {
                left.removeFirst()
                note("\(next.action)")
                try await perform(next.action)
            }
            try await attend()
            try await Task.sleep(for: .milliseconds(50))
        }
        let deadline = ContinuousClock.now + .seconds(scale.patience)
        while drain != nil || !restarts.isEmpty || !submissions.isEmpty {
            guard ContinuousClock.now < deadline else {
                let left = "\(drain?.attempts ?? []), \(submissions.count) submissions"
                throw LabError(description: "this does not end: \(left)\n" + (await cluster.report()))
            }
            try await attend()
            try await Task.sleep(for: .milliseconds(50))
        }
        // One that was killed last has only just been started.
        for number in remaining {
            try await cluster.eventually("n\(number) answers") { try await !cluster[number].status().isEmpty }
        }
        note("all faults are over")
    }

    var remaining: [Int] { ChaosPlan.nodes.filter { !plan.goneNodes.contains($0) } }

    private func note(_ text: String) {
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        journal.append("\((seconds * 10).rounded() / 10) s: \(text)")
    }

    // MARK: Faults

    private func perform(_ action: ChaosAction) async throws {
        switch action {
        case .kill(let order, let seconds):
            let isFit = { [self] in !stopped.contains($0) && !gone.contains($0) && cluster.nodes[$0]?.isRunning == true
            }
            guard restarts.isEmpty, let victim = order.first(where: isFit) else { return note("nobody is killed") }
            try cluster[victim].crash()
            restarts.append((.now + .seconds(seconds), victim))
            note("killed n\(victim)")
        case .partition(let left, let right): try cluster.lab.partition(left, right)
        case .heal: try cluster.lab.heal()
        case .stop(let node):
            stopped.insert(node)
            try await isRunning(node)
            try cluster[node].signal(SIGSTOP)
        case .go(let node):
            try cluster[node].signal(SIGCONT)
            stopped.remove(node)
        case .fillDisk(let node):
            let directory = try cluster[node].dataDirectory
            // Whole blocks first, then what they leave.
            try NetworkLab.shell(
                """
                cd '\(directory)'
                dd if=/dev/zero of=ballast bs=1M; dd if=/dev/zero of=ballast2 bs=512
                [ "$(df --output=avail . | tail -1)" -eq 0 ]
                """)
        case .freeDisk(let node): try NetworkLab.shell("rm '\(try cluster[node].dataDirectory)'/ballast*")
        case .destroy(let node):
            gone.insert(node)
            restarts.removeAll { $0.node == node }
            try cluster[node].destroy()
        case .drain(let node): drain = Drain(node: node, begun: .now)
        case .submit:
            // Beside the other faults, which may hold it up for as long as they last.
            let images = batches.removeFirst()
            submissions.append((images, "batch\(batches.count)", 0))
        }
    }

    /// Waits until a node that was killed runs again.
    private func isRunning(_ node: Int) async throws {
        while try !cluster[node].isRunning {
            try await attend()
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    // MARK: What goes on meanwhile

    private func attend() async throws {
        for restart in restarts where restart.at <= .now { try cluster[restart.node].start() }
        restarts.removeAll { $0.at <= .now }
        if drain != nil { try attendDrain() }
        try attendSubmission()
    }

    /// The client at node 1 that submits: again until everything was answered for.
    private func attendSubmission() throws {
        guard let next = submissions.first else { return }
        guard let command = submission else {
            let node = try cluster[1]
            if node.isRunning, !stopped.contains(1) {
                submission = try work.beginSubmission(next.images, as: next.name, at: node)
            }
            return
        }
        guard !command.isRunning else { return }
        submission = nil
        if work.endSubmission(command, of: next.images, as: next.name) {
            submissions.removeFirst()
            return
        }
        let said = command.result.said.suffix(300)
        note("submit: \(said)")
        submissions[0].tries += 1
        guard next.tries < Self.submissionTries else { throw LabError(description: "submit: \(said)") }
    }

    private static let submissionTries = 40

    /// The operator who drains: tries again until it is safe, then takes the machine away.
    private func attendDrain() throws {
        guard var current = drain else { return }
        let node = try cluster[current.node]
        guard let command = current.command else {
            if node.isRunning, !stopped.contains(current.node), current.retryAt.map({ $0 <= .now }) ?? true {
                current.command = try node.begin(["drain", "--deadline", "60s", "--json"], within: 180)
            }
            drain = current
            return
        }
        guard !command.isRunning else { return }
        let result = command.result
        current.command = nil
        if result.exitCode == 0 {
            drainSeconds = (ContinuousClock.now - current.begun) / .seconds(1)
            // At once: the node may not even have ended by itself.
            gone.insert(current.node)
            try node.destroy()
            note("n\(current.node) is drained and its disk is lost")
            drain = nil
            return
        }
        let line = "exit \(result.exitCode) " + (result.output + result.errors).suffix(300)
        current.attempts.append(line)
        note("drain: \(line)")
        current.retryAt = .now + .seconds(1)
        drain = current
    }
}
