// Before a node goes: its files that pending jobs need, copied to nodes that stay.

package import ClusterModel
import Dispatch
import Foundation
import Synchronization

/// How the writing of a copy to another node ended.
package enum SpoolWriteEnd: Hashable, Sendable {
    /// The copy is durable there, and has this digest.
    case stored(SourceDigest)
    case refused(String)
    /// The file could not be read to its end here.
    case failed(Failure)
    case unreachable(String)
    case cancelled
}

/// Why offers were not answered.
package struct SpoolUnreachable: Error, Hashable, Sendable {
    package let detail: String
    package init(_ detail: String) { self.detail = detail }
}

/// Sends copies to other nodes. The calls block the calling thread, which is never one of the cooperative pool.
package protocol SpoolPeers: Sendable {
    /// The answers to at most `Limits.spoolOfferCount` offers, in their order.
    func offerSpool(
        _ offers: [SpoolOffer], to node: NodeID, cancellation: SourceCancellation
    ) -> Result<[SpoolAnswer], SpoolUnreachable>
    /// Writes one copy. `next` gives its bytes in order, nil after the last; it reads from the disk, and blocks.
    func writeSpool(
        _ offer: SpoolOffer, to node: NodeID, cancellation: SourceCancellation,
        next: @escaping @Sendable () -> Result<[UInt8]?, Failure>
    ) -> SpoolWriteEnd
}

/// A pending job whose file this node has: its own, or a copy in its spool.
package struct SpoolCandidate: Hashable, Sendable {
    package let key: JobKey
    package let specification: JobSpecification

    package init(key: JobKey, specification: JobSpecification) {
        self.key = key
        self.specification = specification
    }
}

/// What spooling came to. Every candidate is in exactly one of `stored`, `present`, `readable`, `left`, `unreadable`.
package struct SpoolReport: Hashable, Sendable {
    package struct Left: Hashable, Sendable {
        package let key: JobKey
        package let source: SourceReference
        package let why: String
    }

    /// Copies that were sent, and their bytes.
    package var stored = 0
    package var storedBytes: Int64 = 0
    /// Copies that were there before.
    package var present = 0
    /// Files that another node reads itself.
    package var readable = 0
    /// Files that only this machine can read, and the first of them, at most `Limits.spoolReportCount`.
    package var left = 0
    package var examples: [Left] = []
    /// Files that this machine cannot read either: nothing is lost by its going.
    package var unreadable = 0

    package init() {}

    mutating func leave(_ candidate: SpoolCandidate, _ why: String) {
        left += 1
        guard examples.count < Limits.spoolReportCount else { return }
        examples.append(Left(key: candidate.key, source: candidate.specification.source, why: why))
    }
}

package struct SpoolSender: Sendable {
    /// Where copies of a job's file are wanted, best first; one is enough. Nodes that go themselves are not among them.
    package typealias Targets = @Sendable (JobKey) -> [NodeID]

    private let node: NodeID
    private let resolver: SourceResolver
    private let peers: any SpoolPeers
    private let targets: Targets
    private let name: @Sendable (NodeID) -> String

    package init(
        _ resolver: SourceResolver, peers: any SpoolPeers, targets: @escaping Targets,
        name: @escaping @Sendable (NodeID) -> String
    ) {
        node = resolver.node
        self.resolver = resolver
        self.peers = peers
        self.targets = targets
        self.name = name
    }

    /// Places the files of all candidates, blocking, until the deadline. What comes after it is counted as left.
    ///
    /// - Parameters:
    ///   - deadline: nil for none.
    ///   - cancellation: ends calls that are under way; cancel it at the deadline. Nothing is sent afterwards.
    ///   - page: the next candidates, at most a few hundred at a time; empty after the last. Its error ends the run.
    ///   - progress: called after each page.
    package func run(
        until deadline: DispatchTime?, cancellation: SourceCancellation,
        page: () throws -> [SpoolCandidate], progress: (SpoolReport) -> Void = { _ in }
    ) throws -> SpoolReport {
        let run = SpoolRun()
        while true {
            let candidates = try page()
            guard !candidates.isEmpty else { break }
            for start in stride(from: 0, to: candidates.count, by: Limits.spoolOfferCount) {
                let chunk = candidates[start..<min(start + Limits.spoolOfferCount, candidates.count)]
                place(
                    Array(chunk), run, isOver: { cancellation.isCancelled || deadline.map { .now() >= $0 } ?? false },
                    cancellation)
            }
            progress(run.report)
        }
        return run.report
    }

    /// A file on its way: which nodes it may still go to.
    private struct Parcel: Sendable {
        let candidate: SpoolCandidate
        let offer: SpoolOffer
        var targets: [NodeID]
        var why = "no other node is there to take it"

        func refused(_ why: String) -> Parcel {
            var parcel = self
            parcel.why = why
            return parcel
        }
    }

    private func place(
        _ candidates: [SpoolCandidate], _ run: SpoolRun, isOver: @escaping @Sendable () -> Bool,
        _ cancellation: SourceCancellation
    ) {
        var parcels: [Parcel] = []
        for candidate in candidates {
            guard !isOver() else {
                run.change { $0.leave(candidate, "the deadline passed") }
                continue
            }
            switch open(candidate) {
            case .failure: run.change { $0.unreadable += 1 }
            case .success(let file):
                parcels.append(
                    Parcel(
                        candidate: candidate,
                        offer: SpoolOffer(
                            key: candidate.key, specification: candidate.specification,
                            byteCount: file.facts.byteCount),
                        targets: targets(candidate.key).filter { $0 != node }))
            }
        }
        // One round for each choice: those that were refused try their next node.
        while !parcels.isEmpty {
            var byTarget: [NodeID: [Parcel]] = [:]
            for parcel in parcels {
                guard let target = parcel.targets.first(where: { run.isUsable($0) }) else {
                    run.change { $0.leave(parcel.candidate, parcel.why) }
                    continue
                }
                var rest = parcel
                rest.targets = Array(parcel.targets.drop { $0 != target }.dropFirst())
                byTarget[target, default: []].append(rest)
            }
            parcels = byTarget.keys.sorted().flatMap { target in
                deliver(byTarget[target] ?? [], to: target, run, isOver: isOver, cancellation)
            }
        }
    }

    /// Offers parcels to a node and sends those that it wants; returns those that have to go elsewhere.
    private func deliver(
        _ parcels: [Parcel], to target: NodeID, _ run: SpoolRun, isOver: @escaping @Sendable () -> Bool,
        _ cancellation: SourceCancellation
    ) -> [Parcel] {
        guard !isOver() else {
            for parcel in parcels { run.change { $0.leave(parcel.candidate, "the deadline passed") } }
            return []
        }
        let answers: [SpoolAnswer]
        switch peers.offerSpool(parcels.map(\.offer), to: target, cancellation: cancellation) {
        case .success(let given) where given.count == parcels.count: answers = given
        case .success: return refuse(parcels, "\(name(target)) gave a wrong number of answers", target, run)
        case .failure(let error):
            return refuse(parcels, "\(name(target)) cannot be reached: \(error.detail)", target, run)
        }
        var elsewhere: [Parcel] = []
        var wanted: [Parcel] = []
        for (parcel, answer) in zip(parcels, answers) {
            switch answer {
            case .wanted: wanted.append(parcel)
            case .present: run.change { $0.present += 1 }
            case .readable: run.change { $0.readable += 1 }
            case .refused(let why): elsewhere.append(parcel.refused("\(name(target)): \(why)"))
            }
        }
        let sending = wanted
        let rejected = Mutex<[Int: Parcel]>([:])
        SpoolRun.concurrently(sending.count, width: Limits.spoolSendCount) { index in
            guard let parcel = send(sending[index], to: target, run, isOver: isOver, cancellation) else { return }
            rejected.withLock { $0[index] = parcel }
        }
        elsewhere += rejected.withLock { $0 }.sorted { $0.key < $1.key }.map(\.value)
        return elsewhere
    }

    private func refuse(_ parcels: [Parcel], _ why: String, _ target: NodeID, _ run: SpoolRun) -> [Parcel] {
        run.giveUp(target)
        return parcels.map { $0.refused(why) }
    }

    /// Sends one file; returns the parcel when it has to go elsewhere.
    private func send(
        _ parcel: Parcel, to target: NodeID, _ run: SpoolRun, isOver: () -> Bool, _ cancellation: SourceCancellation
    ) -> Parcel? {
        guard !isOver() else {
            run.change { $0.leave(parcel.candidate, "the deadline passed") }
            return nil
        }
        guard run.isUsable(target) else { return parcel }
        // Opened again: hundreds of files are not held open while they wait.
        guard case .success(let file) = open(parcel.candidate) else {
            run.change { $0.unreadable += 1 }
            return nil
        }
        guard file.facts.byteCount == parcel.offer.byteCount else {
            run.change { $0.leave(parcel.candidate, "the file changed while it was offered") }
            return nil
        }
        let served = ServedSource(file, of: parcel.candidate.specification.source)
        let sent = RunningDigest()
        let end = peers.writeSpool(parcel.offer, to: target, cancellation: cancellation) {
            let chunk = served.next()
            if case .success(let bytes?) = chunk { bytes.withUnsafeBytes { sent.update($0) } }
            return chunk
        }
        switch end {
        case .stored(let digest):
            guard digest == sent.digest else { return parcel.refused("\(name(target)) stored other bytes") }
            run.change { report in
                report.stored += 1
                report.storedBytes += parcel.offer.byteCount
            }
            return nil
        case .refused(let why): return parcel.refused("\(name(target)): \(why)")
        case .failed(let failure):
            run.change { $0.leave(parcel.candidate, failure.text) }
            return nil
        case .unreachable(let why):
            run.giveUp(target)
            return parcel.refused("\(name(target)) cannot be reached: \(why)")
        case .cancelled:
            run.change { $0.leave(parcel.candidate, "the deadline passed") }
            return nil
        }
    }

    private func open(_ candidate: SpoolCandidate) -> Result<OpenFile, Failure> {
        let specification = candidate.specification
        if specification.origin == nil || specification.origin == node {
            return FileSource.openFile(specification.source, maximumBytes: resolver.maximumBytes)
        }
        guard let copy = resolver.spool?.open(candidate.key, specification.fingerprint) else {
            return .failure(Failure(.sourceMissing, "no copy of it is in the spool"))
        }
        return .success(copy)
    }
}

/// What the threads of one run share.
private final class SpoolRun: Sendable {
    private struct State {
        var report = SpoolReport()
        var unusable: Set<NodeID> = []
    }

    private let state = Mutex(State())

    var report: SpoolReport { state.withLock { $0.report } }

    func change(_ body: (inout SpoolReport) -> Void) { state.withLock { body(&$0.report) } }

    /// Nothing more is sent to this node in this run.
    func giveUp(_ node: NodeID) { state.withLock { _ = $0.unusable.insert(node) } }

    func isUsable(_ node: NodeID) -> Bool { state.withLock { !$0.unusable.contains(node) } }

    /// Runs `body` for 0 ..< count on at most `width` threads of their own, and waits for all.
    static func concurrently(_ count: Int, width: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let next = Mutex(0)
        let ended = DispatchGroup()
        @Sendable func work() {
            while true {
                let index = next.withLock { next in
                    defer { next += 1 }
                    return next
                }
                guard index < count else { return }
                body(index)
            }
        }
        for _ in 0..<max(0, min(width, count) - 1) {
            ended.enter()
            Thread.detachNewThread {
                work()
                ended.leave()
            }
        }
        work()
        ended.wait()
    }
}
