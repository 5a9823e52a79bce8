// Which cloud a machine is of, from what its firmware says (DMI). Nothing is sent to anybody for it: a machine that is
// on no cloud must not knock at a metadata address.

import Foundation
import Glibc

/// A cloud whose metadata service this node understands.
package enum Cloud: String, Hashable, CaseIterable, Sendable {
    case ec2, gcp, azure

    /// For people: "EC2".
    package var title: String {
        switch self {
        case .ec2: "EC2"
        case .gcp: "GCP"
        case .azure: "Azure"
        }
    }
}

/// The firmware's words about the machine.
package struct MachineIdentity: Hashable, Sendable {
    /// The cloud, and the field and text that told it: `sys_vendor "Amazon EC2"`.
    package struct Recognition: Hashable, Sendable {
        package let cloud: Cloud
        package let evidence: String
    }

    /// Where Linux shows the fields.
    package static let directory = "/sys/class/dmi/id"

    /// Longest text that is read of one field.
    private static let fieldByteCount = 256
    private static let fields = ["sys_vendor", "product_name", "board_vendor", "chassis_asset_tag", "bios_vendor"]
    /// Azure's asset tag; Hyper-V elsewhere has the same vendor and another tag.
    private static let azureTag = "7783-7084-3265-9085-8269-3286-77"

    private let texts: [String: String]

    /// Reads the fields that are there and readable; the others are empty.
    package init(directory: String = MachineIdentity.directory) {
        var texts: [String: String] = [:]
        for field in Self.fields { texts[field] = Self.text(at: directory + "/" + field) }
        self.texts = texts
    }

    /// The machine's cloud; nil when the fields name none.
    package var recognition: Recognition? {
        // Azure first: its tag is its alone. The vendors' own words are compared whole, never searched in a text that
        // anybody may have written.
        if let evidence = evidence("chassis_asset_tag", Self.azureTag) {
            return Recognition(cloud: .azure, evidence: evidence)
        }
        for field in ["sys_vendor", "board_vendor", "bios_vendor"] {
            if let evidence = evidence(field, "Amazon EC2") { return Recognition(cloud: .ec2, evidence: evidence) }
        }
        if let evidence = evidence("product_name", "Google Compute Engine") {
            return Recognition(cloud: .gcp, evidence: evidence)
        }
        return nil
    }

    private func evidence(_ field: String, _ wanted: String) -> String? {
        texts[field] == wanted ? "\(field) \"\(wanted)\"" : nil
    }

    private static func text(at path: String) -> String? {
        // O_NONBLOCK: whatever stands there must not make a node wait.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: fieldByteCount)
        let count = read(file, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// The cloud to listen to, and where.
package struct CloudPlace: Hashable, Sendable {
    package let cloud: Cloud
    /// "http://169.254.169.254": scheme, host and perhaps a port, no path.
    package let endpoint: String
    /// Whence the cloud is known, for people.
    package let evidence: String

    /// Where every cloud serves its metadata: a link-local address, reachable from the machine alone.
    package static let standardEndpoint = "http://169.254.169.254"

    package init(cloud: Cloud, endpoint: String = CloudPlace.standardEndpoint, evidence: String) {
        self.cloud = cloud
        self.endpoint = endpoint
        self.evidence = evidence
    }

    /// What is to be listened to; nil on no cloud: then nothing is ever sent to a metadata address.
    ///
    /// - Parameters:
    ///   - named: what the operator says the cloud is; nil recognises it.
    ///   - endpoint: what the operator says the address is; nil takes the standard one, where there is a cloud.
    package static func find(named: Cloud?, endpoint: String?, machine: MachineIdentity) -> CloudPlace? {
        if let named {
            return CloudPlace(cloud: named, endpoint: endpoint ?? standardEndpoint, evidence: "configuration")
        }
        guard let found = machine.recognition else { return nil }
        return CloudPlace(cloud: found.cloud, endpoint: endpoint ?? standardEndpoint, evidence: found.evidence)
    }
}
