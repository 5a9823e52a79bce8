// Keys that must fit each other.

extension ConfigurationReader {
    /// What no single key can tell.
    func checkRelations() throws(ConfigurationError) {
        if configuration.work.retryBackoffMax < configuration.work.retryBackoff {
            throw refusal(
                ["work", "retry_backoff_max"], "[work] retry_backoff_max",
                "is \"\(Quantity.text(configuration.work.retryBackoffMax))\"",
                "at least retry_backoff (\"\(Quantity.text(configuration.work.retryBackoff))\")")
        }
        if configuration.worker.recycleResidentByteCount > configuration.worker.memoryByteCount {
            throw refusal(
                ["worker", "recycle_rss"], "[worker] recycle_rss",
                "is \"\(Quantity.text(byteCount: configuration.worker.recycleResidentByteCount))\"",
                "at most memory (\"\(Quantity.text(byteCount: configuration.worker.memoryByteCount))\")")
        }
        try checkMembership()
    }

    private func checkMembership() throws(ConfigurationError) {
        let membership = configuration.membership
        func text(_ duration: Duration) -> String { "\"\(Quantity.text(duration))\"" }
        try require(
            membership.probeTimeout < membership.probeInterval, "probe_timeout", text(membership.probeTimeout),
            "less than probe_interval (\(text(membership.probeInterval)))", other: "probe_interval")
        try require(
            membership.gossipInterval <= membership.probeInterval, "gossip_interval", text(membership.gossipInterval),
            "at most probe_interval (\(text(membership.probeInterval)))", other: "probe_interval")
        try require(
            membership.pauseGuard > membership.probeInterval, "pause_guard", text(membership.pauseGuard),
            "more than probe_interval (\(text(membership.probeInterval)))", other: "probe_interval")
        try require(
            membership.forgetAfter > membership.reconnectInterval, "forget_after", text(membership.forgetAfter),
            "more than reconnect_interval (\(text(membership.reconnectInterval)))", other: "reconnect_interval")
        try require(
            membership.forgetAfter > membership.exchangeInterval, "forget_after", text(membership.forgetAfter),
            "more than exchange_interval (\(text(membership.exchangeInterval))): who is forgotten earlier comes back",
            other: "exchange_interval")
    }

    /// Refuses a key of [membership] that does not fit another; the line is that of whichever stands in the file.
    private func require(
        _ holds: Bool, _ name: String, _ value: String, _ expected: String, other: String
    ) throws(ConfigurationError) {
        guard !holds else { return }
        let place = lines.exactLine(of: ["membership", name]) == nil ? other : name
        throw refusal(["membership", place], "[membership] \(name)", "is \(value)", expected)
    }
}
