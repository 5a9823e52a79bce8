// What is asked of each cloud's metadata service, and what may come back.

/// One thing to ask.
package enum MetadataQuestion: Hashable, CaseIterable, Sendable {
    /// EC2: whether the spot instance is taken back, and when. 404: it is not.
    case spotAction
    /// EC2: whether the instance is at an elevated risk of being taken back. 404: it is not.
    case rebalance
    /// EC2: what the Auto Scaling group wants the instance to become. 404: it is in none.
    case lifecycleState
    /// GCP: TRUE from the moment on that the instance is preempted.
    case preempted
    /// GCP: what maintenance of the host will do to the instance.
    case maintenanceEvent
    /// Azure: the machine's own name; events name the machines that they concern.
    case ownName
    /// Azure: what is about to happen to the machines of a set.
    case scheduledEvents

    package var cloud: Cloud {
        switch self {
        case .spotAction, .rebalance, .lifecycleState: .ec2
        case .preempted, .maintenanceEvent: .gcp
        case .ownName, .scheduledEvents: .azure
        }
    }

    package var path: String {
        switch self {
        case .spotAction: "/latest/meta-data/spot/instance-action"
        case .rebalance: "/latest/meta-data/events/recommendations/rebalance"
        case .lifecycleState: "/latest/meta-data/autoscaling/target-lifecycle-state"
        case .preempted: "/computeMetadata/v1/instance/preempted"
        case .maintenanceEvent: "/computeMetadata/v1/instance/maintenance-event"
        case .ownName: "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
        case .scheduledEvents: "/metadata/scheduledevents?api-version=2020-07-01"
        }
    }
}

/// What the service said.
package struct MetadataAnswer: Hashable, Sendable {
    package let status: Int
    package let body: [UInt8]

    package init(status: Int, body: [UInt8]) {
        self.status = status
        self.body = body
    }

    package init(status: Int, _ text: String) { self.init(status: status, body: Array(text.utf8)) }

    /// The body as text without white space around it.
    package var text: String {
        let space: (Character) -> Bool = { $0.isWhitespace }
        let text = String(decoding: body, as: UTF8.self)
        return String(text.drop(while: space).reversed().drop(while: space).reversed())
    }
}
