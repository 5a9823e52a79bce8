// Watches: places that are still filling (docs/watch.md). The core keeps which there are, like batches; the shell of the
// node that `WatchPlacement` names runs them.
//
// Invariants:
// - A watch of a removed batch is in no catalogue: the batch's tombstone keeps it out.
// - At most `Limits.watchKeptCount` are kept, those with the lowest ids, so that all nodes keep the same.

import ClusterModel

/// Which watches are meant.
package enum WatchSelection: Hashable, Sendable {
    case ids([WatchID])
    case batch(BatchID)
}

/// Who runs a watch, from one node's view of the cluster. Two nodes that see it differently may both run it for a while:
/// a file that is submitted twice is known the second time.
package enum WatchPlacement {
    /// What a node has to do about a watch.
    package enum Role: Hashable, Sendable {
        case runs
        /// Its origin is away: after a wait for each that comes before, the node takes it over if it can see the folder.
        case mayTakeOver(place: Int)
        case stands
    }

    /// - Parameter serving: nodes that are there and stay, sorted; empty while this node knows of none.
    package static func role(of node: NodeID, in watch: Watch, serving: [NodeID]) -> Role {
        guard watch.isRunning, serving.contains(node) else { return .stands }
        if watch.source.isPath {
            if serving.contains(watch.origin) { return watch.origin == node ? .runs : .stands }
            let place = ranking(of: watch.id, serving).firstIndex(of: node)
            return place.map { .mayTakeOver(place: $0) } ?? .stands
        }
        return ranking(of: watch.id, serving).first == node ? .runs : .stands
    }

    /// The node that runs it; nil when none does.
    package static func runner(of watch: Watch, serving: [NodeID]) -> NodeID? {
        guard watch.isRunning else { return nil }
        if watch.source.isPath { return serving.contains(watch.origin) ? watch.origin : nil }
        return ranking(of: watch.id, serving).first
    }

    /// Nodes by their weights, highest first (rendezvous hashing, as for shards).
    static func ranking(of id: WatchID, _ nodes: [NodeID]) -> [NodeID] {
        nodes.map { node in
            var generator = SeededGenerator(seed: node.bits.high ^ id.bits.high)
            var second = SeededGenerator(seed: generator.next() ^ node.bits.low ^ id.bits.low)
            return (weight: second.next(), node: node)
        }.sorted { ($0.weight, $0.node) > ($1.weight, $1.node) }.map(\.node)
    }
}

extension Coordinator {
    private static let watchPrefix = "cluster.watch."

    private static func settingKey(_ id: WatchID) -> String { "\(watchPrefix)\(id)" }

    /// Reads the watches from the ledger. One that cannot be read is passed over: others tell it again.
    mutating func readWatches(ledger: some Ledger) throws(LedgerError) {
        var read: [WatchID: Watch] = [:]
        for (name, value) in try ledger.settings(withPrefix: Self.watchPrefix) {
            guard let bits = Bits128(hex: name.dropFirst(Self.watchPrefix.count)),
                let watch = Watch(text: value, id: WatchID(bits))
            else { continue }
            read[watch.id] = watch
        }
        catalogue.watches = read
    }

    /// Watches in the order of their ids.
    package var watches: [Watch] { catalogue.orderedWatches }

    // MARK: From clients

    /// Begins to watch, or goes on with what was stopped. All or none; what is running as asked stays as it is.
    mutating func start(
        _ wanted: [Watch], ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> CoordinatorReply {
        var count = catalogue.watches.count
        var running = catalogue.watches.values.reduce(into: [BatchID: Int]()) { counts, watch in
            if watch.isRunning { counts[watch.batch, default: 0] += 1 }
        }
        for watch in wanted {
            if let complaint = watch.complaint { return .refused(complaint) }
            guard let batch = try ledger.batch(watch.batch), !batch.isRemoved else {
                return .refused("there is no batch \(watch.batch.name)")
            }
            let known = catalogue.watches[watch.id]
            if known == nil { count += 1 }
            if known?.isRunning != true { running[watch.batch, default: 0] += 1 }
            guard count <= Limits.watchCount else {
                return .refused("a cluster has at most \(Limits.watchCount) watches, stopped ones included")
            }
            guard running[watch.batch, default: 0] <= Limits.watchesPerBatchCount else {
                return .refused("a batch has at most \(Limits.watchesPerBatchCount) running watches")
            }
        }
        var changed: [Watch] = []
        var answer: [Watch] = []
        for wish in wanted {
            var watch = wish
            watch.state = .running
            if let known = catalogue.watches[watch.id] {
                watch.version = known.version
                watch.writer = known.writer
                watch.createdSeconds = known.createdSeconds
                if watch == known {
                    answer.append(known)
                    continue
                }
                watch.version += 1
            } else {
                watch.version = 1
            }
            watch.writer = node
            changed.append(watch)
            answer.append(watch)
        }
        try change(changed, ledger: ledger, into: &effects)
        return .watches(answer)
    }

    /// Stops those of the selection that run, and answers with them.
    mutating func stop(
        _ selection: WatchSelection, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> CoordinatorReply {
        var stopped: [Watch] = []
        for var watch in watches where watch.isRunning {
            switch selection {
            case .ids(let ids): guard ids.contains(watch.id) else { continue }
            case .batch(let batch): guard watch.batch == batch else { continue }
            }
            watch.state = .stopped
            watch.version += 1
            watch.writer = node
            stopped.append(watch)
        }
        try change(stopped, ledger: ledger, into: &effects)
        return .watches(stopped)
    }

    /// Makes this node the origin of a watch, with the folder that it sees. Nothing happens when the watch was changed
    /// since, or would stay as it is.
    mutating func claim(
        _ seen: Watch, _ folder: FolderIdentity?, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard var watch = catalogue.watches[seen.id], watch == seen, watch.isRunning,
            watch.origin != node || watch.folder != folder
        else { return }
        watch.origin = node
        watch.folder = folder
        watch.version += 1
        watch.writer = node
        try change([watch], ledger: ledger, into: &effects)
        guard seen.origin != node else { return }
        effects.append(.event(.watchTakenOver(watch.id, watch.source, from: seen.origin)))
    }

    private mutating func change(
        _ changed: [Watch], ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var start = 0
        while start < changed.count {
            let end = min(start + Limits.watchChunkCount, changed.count)
            let news = Catalogue(batches: [], watches: Array(changed[start..<end]))
            try merge(news, ledger: ledger, into: &effects)
            publish(news, into: &effects)
            start = end
        }
    }

    // MARK: Merging

    /// Merges watches of another node; returns whether anything changed. The batches of the same message are merged before.
    mutating func merge(watches incoming: [Watch], ledger: some Ledger) throws(LedgerError) -> Bool {
        var hasChanged = false
        for watch in incoming where watch.complaint == nil {
            if try ledger.batch(watch.batch)?.isRemoved == true { continue }
            let known = catalogue.watches[watch.id]
            let merged = known.map { Watch.merge($0, watch) } ?? watch
            guard merged != known else { continue }
            hasChanged = true
            catalogue.watches[watch.id] = merged
            try ledger.setSetting(Self.settingKey(watch.id), to: merged.text)
        }
        if catalogue.watches.count > Limits.watchKeptCount {
            for id in catalogue.watches.keys.sorted().dropFirst(Limits.watchKeptCount) {
                try forget(id, ledger: ledger)
            }
        }
        return hasChanged
    }

    /// Its batch was removed: so are its watches.
    mutating func dropWatches(of batch: BatchID, ledger: some Ledger) throws(LedgerError) {
        for watch in watches where watch.batch == batch { try forget(watch.id, ledger: ledger) }
    }

    private mutating func forget(_ id: WatchID, ledger: some Ledger) throws(LedgerError) {
        catalogue.watches[id] = nil
        try ledger.removeSetting(Self.settingKey(id))
    }
}
