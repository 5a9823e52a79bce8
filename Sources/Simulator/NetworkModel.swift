// What the network and the machines of a world do to messages.

internal import ClusterModel

/// How every path treats what is sent over it. Cuts of single paths are the world's (`World+Faults.swift`).
package struct NetworkModel: Hashable, Sendable {
    /// Share of the packets that are lost, each for itself: datagrams for good, segments of TCP until they are sent
    /// again.
    package var loss = 0.0
    /// Share of the datagrams that arrive twice.
    package var duplication = 0.0
    /// A path takes `latencyFloor` and an exponentially distributed rest. Two packets draw apart, so that they overtake
    /// each other.
    package var latencyFloor = Duration.microseconds(150)
    package var latencyMean = Duration.microseconds(350)
    /// Share of the packets that take `detour` more: far reordering.
    package var detourShare = 0.0
    package var detour = Duration.milliseconds(50)

    package init() {}

    /// A path with so much loss and no other fault.
    package static func losing(_ share: Double) -> NetworkModel {
        var model = NetworkModel()
        model.loss = share
        return model
    }
}

/// How a machine whose processors are all taken treats a process: it runs, is stalled, runs, … all day long.
package struct StallModel: Hashable, Sendable {
    /// Stalls are uniformly distributed from zero to this.
    package var longest: Duration
    /// Gaps in which the process runs are exponentially distributed with this mean.
    package var meanGap: Duration

    package init(longest: Duration, meanGap: Duration) {
        self.longest = longest
        self.meanGap = meanGap
    }

    /// 100 % CPU as the targets of this project mean it: stalls of 0 to 2 s, gaps of 1 s in the mean. A process is
    /// stalled for half of all time.
    package static let saturated = StallModel(longest: .seconds(2), meanGap: .seconds(1))
}

/// What TCP costs and how it deals with loss. Estimates, on the side of too much: a new connection with mutual TLS 1.3
/// for each call, as if the shell kept none.
enum StreamModel {
    /// Bytes that each side sends to open, secure and close a connection: TCP's own packets and TLS with one small
    /// certificate on each side, IP headers included.
    static let handshakeByteCount = 1_800
    /// HTTP/2 and gRPC frames around a message, in one direction.
    static let framingByteCount = 250
    /// IP, TCP with timestamps, TLS record, for each segment.
    static let segmentOverheadByteCount = 81
    /// What fits into one segment.
    static let segmentByteCount = 1_340
    /// An acknowledgement for every second segment.
    static let acknowledgementByteCount = 52

    /// Bytes sent by who sends a message of that size.
    static func byteCount(message: Int) -> Int {
        let content = message + framingByteCount
        let segments = (content + segmentByteCount - 1) / segmentByteCount
        return content + segments * segmentOverheadByteCount
    }

    /// Bytes sent by who receives it.
    static func acknowledgements(message: Int) -> Int {
        let segments = (message + framingByteCount + segmentByteCount - 1) / segmentByteCount
        return (segments + 1) / 2 * acknowledgementByteCount
    }

    /// First wait before an unanswered SYN is sent again (Linux), doubled each time; and the same for data.
    static let synTimeoutNanoseconds: Int64 = 1_000_000_000
    static let dataTimeoutNanoseconds: Int64 = 200_000_000
    /// Sends of one segment, after which the connection breaks.
    static let sendCount = 15
}
