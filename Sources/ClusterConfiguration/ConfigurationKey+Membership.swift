// The keys of [membership]: what a crash that is found sooner costs, and where false alarms begin.

extension ConfigurationKey {
    static let membership: [ConfigurationKey] = [
        ConfigurationKey(
            "membership", "probe_interval",
            .duration(\.membership.probeInterval, .milliseconds(100) ... .seconds(60)),
            "time between two probes by one node"),
        ConfigurationKey(
            "membership", "probe_timeout", .duration(\.membership.probeTimeout, .milliseconds(10) ... .seconds(30)),
            "wait for a direct answer before others and TCP are asked"),
        ConfigurationKey(
            "membership", "indirect_probes", .integer(\.membership.indirectProbes, 0...16),
            "members that are asked to probe on one's behalf"),
        ConfigurationKey(
            "membership", "gossip_interval",
            .duration(\.membership.gossipInterval, .milliseconds(20) ... .seconds(10)),
            "time between two rounds of gossip while there is something to tell"),
        ConfigurationKey(
            "membership", "gossip_fanout", .integer(\.membership.gossipFanout, 1...16), "members told in one round"),
        ConfigurationKey(
            "membership", "retransmit_factor", .integer(\.membership.retransmitFactor, 1...16),
            "times that one node sends an update, for each decimal digit of the cluster's size"),
        ConfigurationKey(
            "membership", "suspicion_min_factor", .decimal(\.membership.suspicionMinimumFactor, 0.5...100),
            "shortest time to refute a suspicion, in probe intervals"),
        ConfigurationKey(
            "membership", "suspicion_max_factor", .decimal(\.membership.suspicionMaximumFactor, 1...100),
            "longest time to refute a suspicion, as a multiple of the shortest"),
        ConfigurationKey(
            "membership", "confirmations", .integer(\.membership.confirmations, 0...16),
            "independent confirmations that shorten a suspicion to its minimum"),
        ConfigurationKey(
            "membership", "local_health_max", .integer(\.membership.localHealthMaximum, 0...8),
            "how far a node that is itself slow stretches its probes"),
        ConfigurationKey(
            "membership", "exchange_interval",
            .duration(\.membership.exchangeInterval, .seconds(1) ... .seconds(3_600)),
            "time between two comparisons of the whole view with a random member"),
        ConfigurationKey(
            "membership", "reconnect_interval",
            .duration(\.membership.reconnectInterval, .seconds(1) ... .seconds(3_600)),
            "time between two looks at a dead member"),
        ConfigurationKey(
            "membership", "forget_after", .duration(\.membership.forgetAfter, .seconds(60) ... .seconds(720 * 3_600)),
            "how long a member that died or left is remembered"),
        ConfigurationKey(
            "membership", "pause_guard", .duration(\.membership.pauseGuard, .seconds(1) ... .seconds(600)),
            "standstill of this node after which it convicts nobody until it has refreshed its view"),
    ]
}
