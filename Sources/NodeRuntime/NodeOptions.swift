// What a node is started with: cluster.conf, the environment and the flags, already merged and checked.

package import ClusterModel
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

    package init(dataDirectory: String, name: String, workers: WorkerPoolConfiguration) {
        self.dataDirectory = dataDirectory
        self.name = name
        self.workers = workers
    }
}
