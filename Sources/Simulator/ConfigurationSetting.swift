// Parameters of the core by name, for measurements that vary them.

package import Membership

extension MembershipConfiguration {
    /// Durations are given in seconds. Returns false when there is no parameter of that name.
    package mutating func set(_ name: String, to value: Double) -> Bool {
        let duration = Duration.nanoseconds(Int64(value * 1e9))
        switch name {
        case "probeInterval": probeInterval = duration
        case "probeTimeout": probeTimeout = duration
        case "indirectProbes": indirectProbes = Int(value)
        case "gossipInterval": gossipInterval = duration
        case "gossipFanout": gossipFanout = Int(value)
        case "retransmitFactor": retransmitFactor = Int(value)
        case "suspicionMinimumFactor": suspicionMinimumFactor = value
        case "suspicionMaximumFactor": suspicionMaximumFactor = value
        case "confirmations": confirmations = Int(value)
        case "exchangeInterval": exchangeInterval = duration
        case "reconnectInterval": reconnectInterval = duration
        case "localHealthMaximum": localHealthMaximum = Int(value)
        default: return false
        }
        return true
    }
}
