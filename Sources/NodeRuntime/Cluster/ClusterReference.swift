// The cluster part of a node is made after the services that show it.

import Synchronization

/// Holds the cluster part once it has started.
package final class ClusterReference: Sendable {
    private let held = Mutex<Cluster?>(nil)

    var value: Cluster? { held.withLock { $0 } }

    func set(_ cluster: Cluster) { held.withLock { $0 = cluster } }
}
