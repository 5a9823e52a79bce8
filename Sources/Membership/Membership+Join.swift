// Becoming part of a cluster: seeds are asked until one answers, and again whenever this node finds itself alone.

internal import ClusterModel

/// Addresses through which a cluster may be found.
struct SeedList: Hashable, Sendable {
    var endpoints: [Endpoint] = []
    /// Set while no seed has answered since they were named, or since this node found itself alone.
    var nextTry: Instant?
    var failures = 0
    /// Where a try is under way.
    var pending: [Endpoint] = []
}

extension Membership {
    /// Seeds that are asked at the same time.
    private static let concurrentSeeds = 3

    mutating func join(_ endpoints: [Endpoint], at now: Instant, into effects: inout [MembershipEffect]) {
        for endpoint in endpoints where endpoint != own.facts.endpoint && !seeds.endpoints.contains(endpoint) {
            guard seeds.endpoints.count < Limits.seedCount else { break }
            seeds.endpoints.append(endpoint)
        }
        guard !seeds.endpoints.isEmpty, !isLeaving else { return }
        isJoined = false
        seeds.failures = 0
        trySeeds(at: now, into: &effects)
    }

    mutating func trySeeds(at now: Instant, into effects: inout [MembershipEffect]) {
        seeds.nextTry = nil
        guard !isLeaving else { return }
        if isJoined, table.presentCount > 1 { return }
        var candidates = seeds.endpoints.filter { !seeds.pending.contains($0) }
        // The order in which they were named at first; later at random, so that one that hangs holds nobody up.
        if seeds.failures > 0 { candidates.shuffle(using: &generator) }
        for endpoint in candidates.prefix(max(0, Self.concurrentSeeds - seeds.pending.count)) {
            seeds.pending.append(endpoint)
            beginExchange(.join, with: endpoint, member: nil, sendsMembers: true, at: now, into: &effects)
        }
        if seeds.pending.isEmpty, !seeds.endpoints.isEmpty { seeds.nextTry = now + backoff() }
    }

    /// Doubles from a probe interval to the ceiling, with full jitter in its upper half.
    private mutating func backoff() -> Duration {
        let doubled = configuration.probeInterval * (1 << min(seeds.failures, 10))
        let ceiling = min(doubled, configuration.joinBackoffCeiling)
        return ceiling.scaled(by: Double.random(in: 0.5...1, using: &generator))
    }

    private mutating func planNextTry(at now: Instant) -> Duration {
        let wait = backoff()
        if seeds.nextTry == nil { seeds.nextTry = now + wait }
        return seeds.nextTry.map { $0 - now } ?? wait
    }

    mutating func seedAnswered(_ endpoint: Endpoint, at now: Instant, into effects: inout [MembershipEffect]) {
        seeds.pending.removeAll { $0 == endpoint }
        seeds.failures = 0
        seeds.nextTry = nil
        guard !isJoined else { return }
        isJoined = true
        effects.append(.event(.joined(through: endpoint, members: table.presentCount)))
    }

    mutating func seedFailed(
        _ endpoint: Endpoint, why: String, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        seeds.pending.removeAll { $0 == endpoint }
        if isJoined, table.presentCount > 1 { return }
        seeds.failures += 1
        let wait = planNextTry(at: now)
        effects.append(.event(.joinFailed(endpoint, why: why, retryIn: wait)))
    }

    mutating func seedRefused(
        _ endpoint: Endpoint, _ refusal: ExchangeRefusal, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        seeds.pending.removeAll { $0 == endpoint }
        if case .yourself = refusal {
            // The list may be the same on all machines: this node's own address is in it.
            seeds.endpoints.removeAll { $0 == endpoint }
            if seeds.endpoints.isEmpty { isJoined = true }
            return
        }
        if isJoined, table.presentCount > 1 { return }
        seeds.failures += 1
        let wait = planNextTry(at: now)
        effects.append(.event(.joinRefused(endpoint, refusal, retryIn: wait)))
    }

    /// Called when members have gone: a node that is alone looks for its cluster again.
    mutating func lookForCluster(at now: Instant) {
        guard table.presentCount == 1, !seeds.endpoints.isEmpty, seeds.nextTry == nil, seeds.pending.isEmpty,
            !isLeaving
        else { return }
        seeds.failures = min(seeds.failures + 1, 10)
        seeds.nextTry = now + backoff()
    }
}
