// From [membership] of cluster.conf to what the core takes. What the file does not have keeps its default.

package import ClusterConfiguration
package import Membership

extension MembershipConfiguration {
    package init(_ settings: NodeConfiguration.Membership) {
        self.init()
        probeInterval = settings.probeInterval
        probeTimeout = settings.probeTimeout
        indirectProbes = settings.indirectProbes
        gossipInterval = settings.gossipInterval
        gossipFanout = settings.gossipFanout
        retransmitFactor = settings.retransmitFactor
        suspicionMinimumFactor = settings.suspicionMinimumFactor
        suspicionMaximumFactor = settings.suspicionMaximumFactor
        confirmations = settings.confirmations
        localHealthMaximum = settings.localHealthMaximum
        exchangeInterval = settings.exchangeInterval
        reconnectInterval = settings.reconnectInterval
        forgetAfter = settings.forgetAfter
        pauseGuard = settings.pauseGuard
    }
}
