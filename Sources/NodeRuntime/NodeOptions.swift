// What a node is started with: cluster.conf, the environment and the flags, already merged and checked.

package import ClusterModel
package import Membership
package import ObjectStorage
package import WorkerPool

package struct NodeOptions: Sendable {
    package var dataDirectory: String
    package var name: String
    package var clusterName = "ocr"
    package var layout = ShardLayout.standard
    /// `executable` and `slotCount` included.
    package var workers: WorkerPoolConfiguration
    package var maximumFailures: UInt32 = 3
    package var maximumInterruptions = UInt32(Limits.interruptionCount)
    package var backoffBase: Duration = .seconds(1)
    package var backoffCeiling: Duration = .seconds(60)
    /// Time that running jobs have when the node is asked to stop.
    package var stopDeadline: Duration = .seconds(30)
    package var defaultLanguage = "eng"
    package var defaultProfile = Profile.standard
    /// "HOST[:PORT]": nodes through which the cluster is found.
    package var seeds: [String] = []
    /// "ADDR:PORT" to listen at; nil takes 127.0.0.1:7400 without a key and 0.0.0.0:7400 with one.
    package var listen: String?
    /// "ADDR:PORT" that other nodes are told, where it differs.
    package var advertise: String?
    /// Failure domain; empty when there is none.
    package var zone = ""
    /// Dollars that this machine costs an hour; 0 where it costs nothing, or nobody has said.
    package var costPerHour = 0.0
    /// The file with the cluster's key; nil looks in the data directory.
    package var keyFile: String?
    package var membership = MembershipConfiguration()
    /// Started by `node join`: ends when no seed has answered for so long; nil tries for ever.
    package var joinTimeout: Duration?
    package var isJoining = false
    /// The file that the log is appended to; nil writes to stderr, or to `node.log` in the data directory for a node in
    /// the background.
    package var logFile: String?
    /// Copies wanted of each record.
    package var replicas = 3
    /// Memory for images that were fetched from other nodes and wait for their slots.
    package var prefetchBytes = 256 << 20
    /// Object stores and web servers; as they are reached without a configuration, unsigned.
    package var stores = RemoteStores(
        StoreClient(), addressing: S3Addressing(), credentials: StaticCredentials(nil))
    /// Disk space for copies of other nodes' files.
    package var spoolBytes = 20 << 30
    /// The cloud that announces this machine's end; nil listens to nobody.
    package var cloud: CloudSettings?
    /// Whether an image that was recognised before gets the result of then.
    package var reusesResults = true

    package init(dataDirectory: String, name: String, workers: WorkerPoolConfiguration) {
        self.dataDirectory = dataDirectory
        self.name = name
        self.workers = workers
    }
}
