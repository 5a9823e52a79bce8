// A home directory, an environment and a clock of a test's own.

import CloudMetadata
import Foundation
import ObjectStorage
import Synchronization

final class Scratch: Sendable {
    let directory = NSTemporaryDirectory() + "credentials-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
    /// Seconds since 1970 as the code under test sees them: 2023-11-15 12:00:00.
    let clock = Mutex<Int64>(1_700_049_600)

    init() throws {
        try FileManager.default.createDirectory(atPath: directory + "/.aws", withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let path = directory + "/" + name
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    func advance(_ seconds: Int64) { clock.withLock { $0 += seconds } }

    /// - Parameter instance: a fake metadata service.
    func context(_ environment: [String: String] = [:], instance: String? = nil) -> CredentialContext {
        var all = ["HOME": directory, "PATH": "/usr/bin:/bin"]
        all.merge(environment) { $1 }
        return CredentialContext(
            environment: all, instance: instance.map { CloudPlace(cloud: .ec2, endpoint: $0, evidence: "test") },
            now: { [self] in clock.withLock { $0 } })
    }
}
