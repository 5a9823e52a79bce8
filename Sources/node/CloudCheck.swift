// `node doctor`: which cloud the machine is on, whence that is known, and whether its notices would be heard.

internal import CloudMetadata
internal import ClusterConfiguration
internal import NodeRuntime

enum CloudCheck {
    /// Asks the metadata service only where a node would: on a recognised cloud, or at a configured address.
    static func finding(
        _ settings: NodeConfiguration.CloudService, environment: [String: String], machine: MachineIdentity
    ) async -> DoctorCommand.Finding {
        let place: CloudPlace
        do {
            guard let found = try RunOptions.cloud(settings, environment: environment, machine: machine)?.place else {
                let why =
                    settings.provider == .none || environment["NODE_CLOUD_PROVIDER"] == "none"
                    ? "notices of a cloud are switched off" : "the firmware names no known cloud: nothing is asked"
                return DoctorCommand.Finding("cloud", .ok, why)
            }
            place = found
        } catch let failure as CommandFailure {
            return DoctorCommand.Finding("cloud", .fail, failure.message, cure: failure.hint)
        } catch {
            return DoctorCommand.Finding("cloud", .fail, "\(error)")
        }
        let name = "\(place.cloud.title) (\(place.evidence)), \(place.endpoint)"
        var reader = NoticeReader(cloud: place.cloud, interval: settings.poll)
        let (changes, _) = await NoticeWatch.round(&reader, MetadataService(place), NoticeWatch.systemTime())
        for change in changes {
            switch change {
            case .unanswered(let why):
                return DoctorCommand.Finding(
                    "cloud", .warn, "\(name): notices would not be heard: \(why)",
                    cure: "allow the metadata service for this machine (EC2: HttpEndpoint enabled, hop limit 2 in "
                        + "containers), or set [cloud] provider = \"none\"")
            case .ends(let notice): return DoctorCommand.Finding("cloud", .warn, "\(name): \(notice.reason)")
            case .caution(let text): return DoctorCommand.Finding("cloud", .warn, "\(name): \(text)")
            case .cautionWithdrawn, .answeredAgain: continue
            }
        }
        return DoctorCommand.Finding("cloud", .ok, "\(name) answers, and announces nothing")
    }
}
