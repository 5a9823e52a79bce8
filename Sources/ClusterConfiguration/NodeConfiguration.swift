// What an operator may set, typed and checked.
//
// The initial value of each property is its default: `ConfigurationKey` renders the documented defaults from here, and
// cluster.conf.example is tested against both.

import ClusterModel

/// Settings of one node: the defaults, or those with the values of a configuration file over them.
package struct NodeConfiguration: Hashable, Sendable {
    /// Where the node keeps everything; relative paths start at the working directory.
    package var dataDirectory = "./node-data"
    /// Label of this node; empty takes the host's name. Never identity.
    package var name = ""
    /// Failure domain of this node (a rack, an availability zone); empty when there is none.
    package var zone = ""
    /// Dollars that this machine costs an hour; 0 where it costs nothing, or nobody has said.
    package var costPerHour = 0.0
    package var cluster = Cluster()
    package var work = Work()
    package var limits = ImageLimits()
    package var worker = Worker()
    package var storage = Storage()
    package var ocr = Recognition()
    package var log = Log()
    package var listen = Listen()
    package var cloud = CloudService()
    package var membership = Membership()
    package var s3 = ObjectStore()
    package var http = Web()

    package init() {}

    /// The cluster that this node belongs to: what all its nodes agree on, and how it is found and entered.
    package struct Cluster: Hashable, Sendable {
        package var name = "ocr"
        /// A power of two, 1...65,536.
        package var shardCount = 1_024
        /// Copies wanted of each record; with fewer nodes, as many as there are.
        package var replicaCount = 3
        /// "HOST[:PORT]": nodes through which the cluster is found.
        package var seeds: [String] = []
        /// The file with the cluster's key; empty takes `cluster.key` of the data directory when it is there.
        package var keyFile = ""
    }

    /// How jobs are taken up, retried and given back.
    package struct Work: Hashable, Sendable {
        /// Worker processes; 0 takes one per core.
        package var workerCount = 0
        /// Attempts that may fail transiently before the job is failed.
        package var maxAttempts = 3
        /// Wait before the second attempt; doubled for each further one up to `retryBackoffMax`.
        package var retryBackoff = Duration.seconds(1)
        package var retryBackoffMax = Duration.seconds(60)
        /// Starts that ended with the node's own death before the job is failed.
        package var maxInterruptions = Limits.interruptionCount
        /// How long running jobs may go on after SIGTERM before they are given back.
        package var stopDeadline = Duration.seconds(30)
        package enum Reuse: String, Hashable, CaseIterable, Sendable {
            case on, off
        }
        /// Whether an image that was recognised before gets the result of then.
        package var reuse = Reuse.on
    }

    /// What an image may be at most; checked before it is decoded.
    package struct ImageLimits: Hashable, Sendable {
        /// Width times height of one page.
        package var maxPixels = 100_000_000
        /// Size of one file.
        package var maxByteCount = 256 << 20
        /// Pages of one file.
        package var maxPages = 2_000
        /// Time for one page; the worker is killed when it is over.
        package var pageTimeout = Duration.seconds(180)
    }

    /// What a worker process may use.
    package struct Worker: Hashable, Sendable {
        package enum Sandbox: String, Hashable, CaseIterable, Sendable {
            case on, off
        }
        package var sandbox = Sandbox.on
        /// Address space of one worker.
        package var memoryByteCount = 4 << 30
        /// Niceness, 0...19.
        package var nice = 10
        /// Jobs after which a worker is replaced.
        package var recycleJobs = 500
        /// Resident memory above which a worker is replaced after its job.
        package var recycleResidentByteCount = 1_536 << 20
        /// CPU seconds that one page may use.
        package var cpuSecondsPerPage = 600
        /// Memory of the node for images that came from other nodes and wait for their slots.
        package var prefetchByteCount = 256 << 20
    }

    /// What the node keeps on its disk for others.
    package struct Storage: Hashable, Sendable {
        /// All copies of other nodes' files together.
        package var spoolByteCount = 20 << 30
    }

    /// Defaults of a submission that names none.
    package struct Recognition: Hashable, Sendable {
        /// Directory of the `*.traineddata` files; empty takes `TESSDATA_PREFIX` or that of the installed Tesseract.
        package var tessdata = ""
        /// Directory of the models of `tessdata_best`; empty looks for one beside those of `tessdata`.
        package var bestTessdata = ""
        /// "eng", "deu+eng".
        package var language = "eng"
        /// 1, 3...13.
        package var pageSegmentationMode = 3
        /// 70...2,400, or 0 for that of the image.
        package var dpi = 0
    }

    package struct Log: Hashable, Sendable {
        package enum Level: String, Hashable, CaseIterable, Sendable {
            case trace, debug, info, notice, warning, error, critical
        }
        package var level = Level.info
        /// A file that is appended to; empty writes to stderr.
        package var file = ""
    }

    package struct Listen: Hashable, Sendable {
        /// "ADDR:PORT"; empty takes 0.0.0.0:7400 with a key and 127.0.0.1:7400 without.
        package var address = ""
        /// "ADDR:PORT" that other nodes are told; empty takes `address`.
        package var advertise = ""
    }

    /// What the machine's cloud announces: that the machine will be taken away.
    package struct CloudService: Hashable, Sendable {
        package enum Provider: String, Hashable, CaseIterable, Sendable {
            /// That of the machine's firmware.
            case auto
            /// Nothing is asked of anybody.
            case none
            case ec2, gcp, azure
        }
        package var provider = Provider.auto
        /// "http://HOST[:PORT]"; empty takes the cloud's own link-local address.
        package var metadataEndpoint = ""
        /// Time between two looks.
        package var poll = Duration.seconds(5)
        /// What a drain leaves of the time that a notice gives.
        package var margin = Duration.seconds(10)
    }

    /// How nodes watch each other. The defaults are those of the membership core; a test compares them.
    package struct Membership: Hashable, Sendable {
        package var probeInterval = Duration.seconds(1)
        package var probeTimeout = Duration.milliseconds(500)
        package var indirectProbes = 3
        package var gossipInterval = Duration.milliseconds(200)
        package var gossipFanout = 3
        package var retransmitFactor = 4
        package var suspicionMinimumFactor = 2.0
        package var suspicionMaximumFactor = 6.0
        package var confirmations = 3
        package var localHealthMaximum = 3
        package var exchangeInterval = Duration.seconds(30)
        package var reconnectInterval = Duration.seconds(10)
        package var forgetAfter = Duration.seconds(24 * 3_600)
        package var pauseGuard = Duration.seconds(5)
    }
}

extension NodeConfiguration {
    /// The profile of a submission that sets no option.
    package var profile: Profile {
        Profile(pageSegmentationMode: ocr.pageSegmentationMode, dpi: ocr.dpi == 0 ? nil : ocr.dpi)
    }

    /// How the key space is cut.
    package var shardLayout: ShardLayout {
        ShardLayout(exponent: min(16, max(0, cluster.shardCount).trailingZeroBitCount))
    }

    /// Worker processes to run on a machine with this many cores: at least 1, at most `Limits.workerCount`.
    package func workerCount(cores: Int) -> Int {
        min(Limits.workerCount, max(1, work.workerCount == 0 ? cores : work.workerCount))
    }
}
