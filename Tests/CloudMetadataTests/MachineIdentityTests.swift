// Which cloud a machine is on is told by its firmware, and by nothing else.

import CloudMetadata
import Foundation
import Testing

@Suite struct MachineIdentityTests {
    private final class Folder {
        let path = NSTemporaryDirectory() + "dmi-" + String(UInt64.random(in: 0 ..< .max), radix: 36)

        init(_ fields: [String: String]) throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (name, text) in fields { try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name)) }
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private static func recognition(_ fields: [String: String]) throws -> MachineIdentity.Recognition? {
        let folder = try Folder(fields)
        return MachineIdentity(directory: folder.path).recognition
    }

    @Test(arguments: [
        (["sys_vendor": "Amazon EC2\n", "product_name": "c5.large\n"], Cloud.ec2, "sys_vendor \"Amazon EC2\""),
        (["sys_vendor": "Xen\n", "bios_vendor": "Amazon EC2\n"], .ec2, "bios_vendor \"Amazon EC2\""),
        (
            ["sys_vendor": "Google\n", "product_name": "Google Compute Engine\n"], .gcp,
            "product_name \"Google Compute Engine\""
        ),
        (
            ["sys_vendor": "Microsoft Corporation\n", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n"],
            .azure, "chassis_asset_tag \"7783-7084-3265-9085-8269-3286-77\""
        ),
    ])
    func `each cloud is known by its own words`(fields: [String: String], cloud: Cloud, evidence: String) throws {
        let found = try Self.recognition(fields)
        #expect(found?.cloud == cloud)
        #expect(found?.evidence == evidence)
    }

    @Test(arguments: [
        [:], ["sys_vendor": ""], ["sys_vendor": "QEMU\n", "product_name": "Standard PC\n"],
        // Hyper-V at home.
        ["sys_vendor": "Microsoft Corporation\n", "product_name": "Virtual Machine\n", "chassis_asset_tag": "None\n"],
        // Other things of the same makers.
        ["sys_vendor": "Google\n", "product_name": "Chromebook\n"], ["sys_vendor": "Amazon\n"],
        ["product_name": "not Amazon EC2\n"], ["sys_vendor": String(repeating: "Amazon EC2", count: 100)],
    ])
    func `a machine on no cloud is on none`(fields: [String: String]) throws {
        #expect(try Self.recognition(fields) == nil)
    }

    @Test func `without a firmware's directory there is no cloud, and nowhere to listen`() {
        let machine = MachineIdentity(directory: "/nonexistent/dmi")
        #expect(machine.recognition == nil)
        #expect(CloudPlace.find(named: nil, endpoint: nil, machine: machine) == nil)
        #expect(CloudPlace.find(named: nil, endpoint: "http://127.0.0.1:1", machine: machine) == nil)
    }

    @Test func `the standard address is asked on a recognised cloud only, a configured one always goes before it`()
        throws
    {
        let folder = try Folder(["sys_vendor": "Amazon EC2\n"])
        let machine = MachineIdentity(directory: folder.path)
        #expect(
            CloudPlace.find(named: nil, endpoint: nil, machine: machine)
                == CloudPlace(
                    cloud: .ec2, endpoint: "http://169.254.169.254", evidence: "sys_vendor \"Amazon EC2\""))
        #expect(
            CloudPlace.find(named: nil, endpoint: "http://127.0.0.1:1", machine: machine)?.endpoint
                == "http://127.0.0.1:1")
        #expect(
            CloudPlace.find(named: .gcp, endpoint: "http://127.0.0.1:1", machine: machine)
                == CloudPlace(cloud: .gcp, endpoint: "http://127.0.0.1:1", evidence: "configuration"))
    }
}
