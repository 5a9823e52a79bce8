// What must hold of a simulated cluster when it has come to rest.

internal import ClusterModel
internal import Coordination

extension ClusterWorld {
    /// Why the cluster is not at rest yet; nil when it is.
    func unrest() -> String? {
        if client.openCount > 0 { return "\(client.openCount) submissions are not confirmed" }
        let running = running
        guard let first = running.first?.core else { return "nobody runs" }
        for node in nodes where !node.isGone && !node.isOpen { return "\(node.name) is not open" }
        if !world.agrees { return "membership does not agree" }
        if let gone = first.placement.table.members.first(where: { byID[$0.id]?.isGone ?? true }) {
            return "\(name(of: gone.id)) has not been replaced"
        }
        for node in running {
            guard let core = node.core else { return "\(node.name) has no coordinator" }
            if node.drain != nil { return "\(node.name) drains: \(core.snapshot.drain.map { "\($0)" } ?? "-")" }
            if core.placement.table != first.placement.table { return "\(node.name) has another placement" }
            if assignmentCount(node) > 0 { return "\(node.name) works" }
            let snapshot = core.snapshot
            if snapshot.isPaused { return "\(node.name) is paused" }
            if snapshot.outboxCount > 0 { return debts(of: node) }
            if snapshot.leasedCount > 0 { return "\(node.name) has \(snapshot.leasedCount) leases" }
            if snapshot.held > 0 { return "\(node.name) holds \(snapshot.held) stolen jobs" }
            if !snapshot.strayShards.isEmpty { return "\(node.name) has stray shards" }
            if snapshot.syncedShards != snapshot.replicaShards { return "\(node.name) has not compared all" }
        }
        if Set(running.map(batches)).count > 1 { return "not all know the same batches" }
        return unequalShard()
    }

    private func debts(of node: ClusterNode) -> String {
        do throws(LedgerError) {
            var owed: [String] = []
            for (target, count) in try node.disk.outboxTargets() {
                guard let first = try node.disk.outbox(to: target, afterSequence: 0, limit: 1).first else { continue }
                owed.append("\(count) to \(name(of: target)), first \(ClusterText.text(first.key))")
            }
            return "\(node.name) owes \(owed.joined(separator: "; "))"
        } catch { return "\(node.name) cannot read: \(error)" }
    }

    private func unequalShard() -> String? {
        guard let placement = running.first?.core?.placement else { return nil }
        for index in 0..<settings.layout.count {
            let shard = ShardIndex(index)
            let replicas = placement.replicas(of: shard)
            var expected: [RecordDigest]?
            for node in running {
                do throws(LedgerError) {
                    let counts = try node.disk.counts(shard)
                    guard replicas.contains(node.id) else {
                        if counts.total > 0 { return "\(node.name) has \(counts.total) strays of shard \(index)" }
                        continue
                    }
                    if counts.pending > 0 {
                        return "\(counts.pending) jobs of shard \(index) are pending at \(node.name)"
                    }
                    let digests = try node.disk.digests(shard)
                    if let expected, digests != expected { return "shard \(index) differs at \(node.name)" }
                    expected = digests
                } catch { return "\(node.name) cannot read: \(error)" }
            }
        }
        return nil
    }

    /// Checks all that must hold in the end. The cluster is at rest.
    func checkRest() {
        guard let placement = running.first?.core?.placement else { return }
        for job in jobs.jobs {
            let shard = settings.layout.shard(of: job.key)
            let holders = running.filter { self.record(job.key, on: $0) != nil }
            let isRemoved = running.contains { node in
                do throws(LedgerError) { return try node.disk.batch(job.batch)?.isRemoved == true } catch {
                    return false
                }
            }
            if isRemoved || client.removed.contains(job.batch) {
                if !isRemoved { violate(.tombstone, "\(job.batch) was removed, and nobody knows") }
                for node in holders {
                    violate(.tombstone, "\(node.name) has \(ClusterText.text(job.key)) of a removed batch")
                }
                continue
            }
            if job.promise != nil, !job.mayBeGone, holders.isEmpty {
                violate(.lost, "\(ClusterText.text(job.key)) is nowhere")
            }
            let replicas = placement.replicas(of: shard)
            var record: Record?
            for node in holders {
                let mine = self.record(job.key, on: node)
                if let record, record != mine {
                    violate(.replicas, "\(ClusterText.text(job.key)) differs at \(node.name)")
                }
                record = mine
            }
            if let record {
                if holders.count != replicas.count {
                    violate(.replicas, "\(ClusterText.text(record)) is at \(holders.count) of \(replicas.count) nodes")
                }
                checkOutcome(of: job, record)
                checkResults(of: record, holders)
            }
        }
        checkCatalogues()
        let duplicates = jobs.jobs.reduce(0) { $0 + $1.duplicates }
        if duplicates > checker.duplicatesAllowed {
            violate(.duplicates, "\(duplicates) jobs were run once more; faults explain \(checker.duplicatesAllowed)")
        }
    }

    private func checkOutcome(of job: SimulatedJob, _ record: Record) {
        func complain(_ why: String) { violate(.outcome, "\(ClusterText.text(record)): \(why)") }
        switch record.outcome {
        case .pending: complain("still pending")
        case .cancelled: if !job.mayBeCancelled { complain("nobody has cancelled it") }
        case .done:
            if job.conduct == .failsForGood || job.conduct == .fails || job.conduct == .killsNode {
                complain("it cannot succeed")
            }
            let digests = (0..<settings.engineCount).map {
                JobBook.result(record.key, language: record.specification.language, engine: UInt64($0)).digest
            }
            if !digests.contains(where: { $0 == record.resultDigest }) {
                complain("its result is that of something else")
            }
        case .failed:
            switch record.lastFailure?.failure.code {
            case .undecodable: if job.conduct != .failsForGood { complain("it is no bad file") }
            case .workerKilled:
                if job.transientFailures < Int(settings.maximumFailures) {
                    complain("it has failed \(job.transientFailures) times only")
                }
            case .interrupted:
                // That one was given back, only the primary of that time knew.
                if job.interruptions == 0 || job.openPeak < Int(settings.maximumInterruptions) {
                    complain("it was interrupted \(job.interruptions) times, and begun \(job.openPeak) times")
                }
            default: complain("nothing of that kind has happened")
            }
        }
    }

    private func checkResults(of record: Record, _ holders: [ClusterNode]) {
        guard record.outcome == .done else { return }
        for node in holders {
            do throws(LedgerError) {
                if try node.disk.result(record.key)?.digest != record.resultDigest {
                    violate(.replicas, "\(node.name) has \(ClusterText.text(record)) without its result")
                }
            } catch { violate(.ledger, "\(node.name) cannot read: \(error)") }
        }
    }

    private func checkCatalogues() {
        var expected: [Batch]?
        var watches: [Watch]?
        for node in running {
            do throws(LedgerError) {
                let batches = try node.disk.batches()
                if let expected, batches != expected { violate(.replicas, "\(node.name) knows other batches") }
                expected = batches
                guard let core = node.core else { continue }
                if let watches, core.watches != watches { violate(.replicas, "\(node.name) knows other watches") }
                watches = core.watches
                for watch in core.watches where batches.contains(where: { $0.id == watch.batch && $0.isRemoved }) {
                    violate(.replicas, "\(node.name) has a watch of \(watch.batch), which was removed")
                }
                if try node.disk.settings(withPrefix: "cluster.watch.").count != core.watches.count {
                    violate(.replicas, "\(node.name) has other watches on its disk")
                }
            } catch { violate(.ledger, "\(node.name) cannot read: \(error)") }
        }
    }

    // MARK: Waiting

    /// Whether `node wait` would return now, and if so, whether it may: all nodes are there and agree, nothing is pending
    /// and nothing owed.
    func checkWait() {
        let running = running
        guard client.openCount == 0, let first = running.first?.core,
            running.count == nodes.count(where: { !$0.isGone })
        else { return }
        // Somebody who is thought to be there would not answer.
        guard first.placement.alive.allSatisfy({ byID[$0]?.isOpen == true }) else { return }
        for node in running {
            guard let core = node.core, core.placement == first.placement else { return }
            let snapshot = core.snapshot
            guard snapshot.outboxCount == 0, node.inbox.isEmpty, snapshot.strayShards.isEmpty,
                snapshot.syncedShards == snapshot.replicaShards
            else { return }
            for shard in snapshot.primaryShards.shards {
                do throws(LedgerError) {
                    if try node.disk.counts(shard).pending > 0 { return }
                } catch { return violate(.ledger, "\(node.name) cannot read: \(error)") }
            }
        }
        for job in jobs.jobs where !job.mayBeGone && job.promise != nil {
            let replicas = first.placement.replicas(of: settings.layout.shard(of: job.key))
            for node in running where replicas.contains(node.id) {
                guard record(job.key, on: node)?.outcome ?? .pending == .pending else { continue }
                return violate(.wait, "all is done, and \(node.name) has no result of \(ClusterText.text(job.key))")
            }
        }
    }
}
