// Batches, settings and watches: small, and on every node. A change is told to everybody at once; what somebody missed is found by
// comparing digests with a random member (DESIGN §3).

import ClusterModel

/// What the core remembers of the catalogue besides the ledger.
struct CatalogueState: Sendable {
    /// Equal catalogues have equal digests.
    var digest: UInt64 = 0
    var settings: [ClusterSetting.Name: ClusterSetting] = [:]
    var watches: [WatchID: Watch] = [:] {
        didSet { orderedWatches = watches.values.sorted { $0.id < $1.id } }
    }
    /// By their ids; kept, because each step shows them.
    private(set) var orderedWatches: [Watch] = []
    var nextComparison: Instant?

    var isPaused: Bool { settings[.paused]?.value == "yes" }
}

extension Coordinator {
    /// Reads settings, watches and digest from the ledger.
    mutating func readCatalogue(ledger: some Ledger) throws(LedgerError) {
        for name in ClusterSetting.Name.allCases {
            guard let text = try ledger.setting(Self.settingKey(name)),
                let setting = Self.decode(name, text)
            else { continue }
            catalogue.settings[name] = setting
        }
        try readWatches(ledger: ledger)
        try computeDigest(ledger: ledger)
    }

    private static func settingKey(_ name: ClusterSetting.Name) -> String { "cluster.\(name.rawValue)" }

    private static func encode(_ setting: ClusterSetting) -> String {
        "\(setting.version) \(setting.writer) \(setting.value)"
    }

    private static func decode(_ name: ClusterSetting.Name, _ text: String) -> ClusterSetting? {
        let parts = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let version = UInt64(parts[0]), let writer = Bits128(hex: parts[1]) else { return nil }
        return ClusterSetting(name: name, value: String(parts[2]), version: version, writer: NodeID(writer))
    }

    private mutating func computeDigest(ledger: some Ledger) throws(LedgerError) {
        var state: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }
        for batch in try ledger.batches() {
            add(batch.id.name.utf8)
            add("/\(batch.id.generation) \(batch.version) \(batch.writer) \(batch.isRemoved);".utf8)
        }
        for name in ClusterSetting.Name.allCases {
            if let setting = catalogue.settings[name] { add("\(name.rawValue)=\(Self.encode(setting));".utf8) }
        }
        for watch in watches { add("\(watch.id)=\(watch.text);".utf8) }
        catalogue.digest = state
    }

    /// Sets a value of the whole cluster and tells everybody.
    mutating func set(
        _ name: ClusterSetting.Name, to value: String, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let setting = ClusterSetting(
            name: name, value: value, version: (catalogue.settings[name]?.version ?? 0) + 1, writer: node)
        try merge(Catalogue(batches: [], settings: [setting]), ledger: ledger, into: &effects)
        publish(Catalogue(batches: [], settings: [setting]), into: &effects)
    }

    /// Tells every member that is there.
    mutating func publish(_ news: Catalogue, into effects: inout [CoordinatorEffect]) {
        for peer in alivePeers { send(.catalogue(news, wantsAnswer: false), to: peer, &effects) }
    }

    /// Merges batches, settings and watches of another node.
    mutating func merge(
        _ incoming: Catalogue, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var hasChanged = false
        for batch in incoming.batches {
            let known = try self.batch(batch.id, ledger: ledger)
            let merged = try ledger.merge(batch)
            guard merged != known else { continue }
            hasChanged = true
            if merged.isRemoved, known?.isRemoved != true {
                dropWork(of: batch.id)
                try dropWatches(of: batch.id, ledger: ledger)
            }
        }
        for setting in incoming.settings {
            let known = catalogue.settings[setting.name]
            let merged = known.map { ClusterSetting.merge($0, setting) } ?? setting
            guard merged != known else { continue }
            hasChanged = true
            catalogue.settings[setting.name] = merged
            try ledger.setSetting(Self.settingKey(setting.name), to: Self.encode(merged))
        }
        if try merge(watches: incoming.watches, ledger: ledger) { hasChanged = true }
        if hasChanged { try computeDigest(ledger: ledger) }
    }

    /// A batch was removed: its waiting jobs are forgotten, its records dropped in bounded steps.
    mutating func dropWork(of batch: BatchID) {
        isDroppingRemoved = true
        held.remove { $0.record.specification.batch == batch }
        queue.rescan()
    }

    func sendCatalogue(
        to peer: NodeID, wantsAnswer: Bool, _ ledger: some Ledger, _ effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let batches = try ledger.batches()
        let settings = ClusterSetting.Name.allCases.compactMap { catalogue.settings[$0] }
        let watches = watches
        var start = 0
        repeat {
            let end = min(start + Limits.catalogueChunkCount, batches.count)
            let isLast = end == batches.count
            effects.append(
                .send(
                    peer,
                    .catalogue(
                        Catalogue(batches: Array(batches[start..<end]), settings: isLast ? settings : []),
                        wantsAnswer: wantsAnswer && isLast && watches.isEmpty)))
            start = end
        } while start < batches.count
        start = 0
        while start < watches.count {
            let end = min(start + Limits.watchChunkCount, watches.count)
            effects.append(
                .send(
                    peer,
                    .catalogue(
                        Catalogue(batches: [], watches: Array(watches[start..<end])),
                        wantsAnswer: wantsAnswer && end == watches.count)))
            start = end
        }
    }

    /// Compares the digest with that of a random member, now and then.
    mutating func compareCatalogue(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard now >= catalogue.nextComparison ?? now else { return }
        catalogue.nextComparison = now + jittered(timing.catalogue)
        let peers = alivePeers
        guard let peer = peers.randomElement(using: &generator) else { return }
        send(.catalogueDigest(catalogue.digest), to: peer, &effects)
    }

    /// A duration ± 25 %, so that nodes do not fall into step.
    mutating func jittered(_ duration: Duration) -> Duration {
        .nanoseconds(duration.nanoseconds / 100 * Int64.random(in: 75...125, using: &generator))
    }

    func batch(_ id: BatchID, ledger: some Ledger) throws(LedgerError) -> Batch? { try ledger.batch(id) }
}
