// Which directories this node shares with another one, learnt from files that are equal on both.
//
//     unproven ──equal, `Limits.sharedFileSystemProofCount` times──▶ shared
//        │                                                            │
//        └───────────────one unequal──▶ not shared ◀──────────────────┘
//
// A mount of one file server looks the same everywhere; a copied tree looks the same until somebody changes a file. So
// the first files of a directory are compared by their digests, and one difference ends the belief for good. What was
// forgotten (the memory is bounded) is proven again.

package import ClusterModel
import Synchronization

package final class SharedDirectories: Sendable {
    /// A directory as this node sees it, and the node whose files are to be there.
    package struct Directory: Hashable, Sendable {
        let other: NodeID
        let device: UInt64
        let path: [UInt8]

        /// The directory that holds `source`, which this node has opened.
        package init(of source: SourceReference, facts: FileFacts, other: NodeID) {
            self.other = other
            device = facts.device
            path = Array(source.bytes.prefix(upTo: source.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0))
        }
    }

    package enum Standing: Hashable, Sendable {
        case unproven(equal: Int)
        case shared
        case notShared
    }

    private let standings: Mutex<RecentValues<Directory, Standing>>

    package init(limit: Int = Limits.sharedDirectoryCount) { standings = Mutex(RecentValues(limit: limit)) }

    package var count: Int { standings.withLock { $0.count } }

    package func standing(_ directory: Directory) -> Standing {
        standings.withLock { $0.value(directory) } ?? .unproven(equal: 0)
    }

    /// Takes in that a file of the directory was compared.
    package func note(_ directory: Directory, isEqual: Bool) {
        standings.withLock { standings in
            let new: Standing =
                switch standings.value(directory) ?? .unproven(equal: 0) {
                case .notShared: .notShared
                case .shared: isEqual ? .shared : .notShared
                case .unproven where !isEqual: .notShared
                case .unproven(let equal):
                    equal + 1 >= Limits.sharedFileSystemProofCount ? .shared : .unproven(equal: equal + 1)
                }
            standings.set(directory, new)
        }
    }
}
