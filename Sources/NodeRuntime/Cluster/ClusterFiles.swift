// What of the cluster is kept in the data directory: the keyring, the members that were known, what they cost, the latest
// boot.
//
// All are small text files that are replaced as a whole (written beside, synced, renamed), so that a crash leaves the old
// or the new one. Losing the members costs a seed; losing the boot is noticed by the cluster (DESIGN §5).

internal import ClusterModel
import Foundation
internal import Membership
internal import Wire

enum ClusterFiles {
    /// The ring of keys, mode 0600. Made from the key file at the first start; changed by `node keys` from then on. A
    /// node that nobody else reaches has a key of its own, `loopback.key`, which never becomes that of a cluster.
    static func keyringPath(in directory: String) -> String { directory + "/cluster.keys" }
    /// Where `node start` looks for a key when no file is named.
    static func defaultKeyPath(in directory: String) -> String { directory + "/cluster.key" }
    static func loopbackKeyPath(in directory: String) -> String { directory + "/loopback.key" }
    static func membersPath(in directory: String) -> String { directory + "/members" }
    static func identityPath(in directory: String) -> String { directory + "/node-id" }
    static func bootPath(in directory: String) -> String { directory + "/boot" }
    static func costsPath(in directory: String) -> String { directory + "/costs" }

    /// Largest file that is read: far above what is written.
    private static let fileByteCount = 1 << 20

    // MARK: Keyring

    /// The keys of this node, and what the operator should know about them.
    ///
    /// The ring in the data directory, once there is one, decides: the key file may be older than the latest rotation,
    /// and a key that was removed must not come back with it.
    ///
    /// - Parameters:
    ///   - file: the configured key file; nil looks for `cluster.key` in the data directory.
    ///   - makesKey: where there is none, a new key is made (for a node on loopback: nobody else has to know it).
    static func keyring(
        directory: String, file: String?, makesKey: Bool
    ) throws(NodeFailure) -> (ring: Keyring, warning: String?) {
        let ringPath = keyringPath(in: directory)
        let path = file ?? defaultKeyPath(in: directory)
        let given = try key(at: path, mustExist: file != nil)
        if let text = try read(ringPath) {
            guard let ring = Keyring(text: text) else {
                throw NodeFailure(
                    "the keyring \(ringPath) is damaged", hint: "remove it: the key file is taken instead",
                    exitCode: 78)
            }
            let isOther = given.map { !ring.keys.contains($0) } ?? false
            let warning = "the key in \(path) is not used: the keys are those of \(ringPath), which `node keys` changes"
            return (ring, isOther ? warning : nil)
        }
        if let given {
            let made = Keyring(given)
            try write(keyring: made, directory: directory)
            return (made, nil)
        }
        guard makesKey else {
            throw NodeFailure(
                "there is no cluster key: a node that others can reach needs one",
                hint: "`node keygen` makes one; copy it to every machine and name it with --key or [cluster] key",
                exitCode: 78)
        }
        let localPath = loopbackKeyPath(in: directory)
        if let local = try key(at: localPath, mustExist: false) { return (Keyring(local), nil) }
        let made = ClusterKey.random()
        try replace(localPath, with: made.text + "\n")
        return (Keyring(made), nil)
    }

    /// The keys that `keyring` would give, where there are any, without writing or making one.
    static func storedKeyring(directory: String, file: String?) throws(NodeFailure) -> Keyring? {
        if try read(keyringPath(in: directory)) != nil {
            return try keyring(directory: directory, file: file, makesKey: false).ring
        }
        if let given = try key(at: file ?? defaultKeyPath(in: directory), mustExist: false) { return Keyring(given) }
        return try key(at: loopbackKeyPath(in: directory), mustExist: false).map { Keyring($0) }
    }

    /// Reads a key file. Returns nil when it is not there and need not be.
    private static func key(at path: String, mustExist: Bool) throws(NodeFailure) -> ClusterKey? {
        guard let text = try read(path) else {
            if !mustExist { return nil }
            throw NodeFailure(
                "the key file \(path) is not there", hint: "`node keygen \(path)` makes one", exitCode: 78)
        }
        guard let key = ClusterKey(text: text) else {
            throw NodeFailure(
                "\(path) is not a cluster key: 64 hexadecimal digits are expected",
                hint: "`node keygen` makes one", exitCode: 78)
        }
        return key
    }

    static func write(keyring: Keyring, directory: String) throws(NodeFailure) {
        try replace(keyringPath(in: directory), with: keyring.text)
    }

    // MARK: Members

    /// One line a member: id, endpoint's address, port, name.
    static func write(members: [RememberedMember], directory: String) throws(NodeFailure) {
        let lines = members.map { member in
            let address = member.endpoint.address.hex
            return "\(member.id) \(address) \(member.endpoint.port) \(member.name)\n"
        }
        try replace(membersPath(in: directory), with: lines.joined())
    }

    /// Where the members of the latest run were. A line that cannot be read is passed over: this is a help, not a truth.
    static func members(directory: String) -> [Endpoint] {
        guard let text = try? read(membersPath(in: directory)) else { return [] }
        return text.split(whereSeparator: \.isNewline).prefix(Limits.seedCount).compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
            guard fields.count >= 3, let address = Bits128(hex: fields[1]), let port = UInt16(fields[2]), port != 0
            else { return nil }
            return Endpoint(address: address, port: port)
        }
    }

    // MARK: Costs

    static func write(costs: [NodeID: MachineCost], directory: String) throws(NodeFailure) {
        let lines = costs.sorted { $0.key < $1.key }.map { "\($0) \($1.perHour) \($1.spent)\n" }
        try replace(costsPath(in: directory), with: lines.joined())
    }

    /// What the machines had cost, as far as it was written. A line that cannot be read is passed over.
    static func costs(directory: String) -> [NodeID: MachineCost] {
        guard let text = try? read(costsPath(in: directory)) else { return [:] }
        var costs: [NodeID: MachineCost] = [:]
        for line in text.split(whereSeparator: \.isNewline).prefix(Limits.costMachineCount) {
            let fields = line.split(separator: " ")
            guard fields.count == 3, let id = Bits128(hex: fields[0]), let perHour = UInt64(fields[1]),
                let spent = UInt64(fields[2])
            else { continue }
            costs[NodeID(id)] = MachineCost(perHour: perHour, spent: spent)
        }
        return costs
    }

    // MARK: Boot

    /// The boot to start with: above that of the ledger's count and above every one that this directory has had.
    static func boot(ledger: Boot, directory: String) throws(NodeFailure) -> Boot {
        let path = bootPath(in: directory)
        let latest = try read(path).flatMap { UInt64($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 0
        let (next, overflow) = latest.addingReportingOverflow(1)
        guard !overflow else {
            throw NodeFailure("the boot counter \(path) is damaged", hint: "remove the file", exitCode: 78)
        }
        let boot = Boot(max(ledger.rawValue, next))
        try write(boot: boot, directory: directory)
        return boot
    }

    static func write(boot: Boot, directory: String) throws(NodeFailure) {
        try replace(bootPath(in: directory), with: "\(boot.rawValue)\n")
    }

    // MARK: Identity

    /// The node's id, kept beside the ledger: a ledger that is made anew, after a damaged one was set aside, belongs to
    /// the same node. Nil when none is kept.
    static func identity(directory: String) throws(NodeFailure) -> NodeID? {
        try read(identityPath(in: directory)).flatMap { text in
            Bits128(hex: text.trimmingCharacters(in: .whitespacesAndNewlines)).map(NodeID.init)
        }
    }

    static func write(identity: NodeID, directory: String) throws(NodeFailure) {
        guard try Self.identity(directory: directory) != identity else { return }
        try replace(identityPath(in: directory), with: "\(identity)\n")
    }

    // MARK: Files

    /// The text of a file; nil when it is not there.
    private static func read(_ path: String) throws(NodeFailure) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw failure("read", path)
        }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: fileByteCount)
        var count = 0
        while count < buffer.count {
            let got = buffer.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count, count)
            }
            if got < 0 { throw failure("read", path) }
            if got == 0 { break }
            count += got
        }
        return String(validating: buffer[..<count], as: UTF8.self)
    }

    private static func replace(_ path: String, with text: String) throws(NodeFailure) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("write", temporary) }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                let error = failure("write", temporary)
                close(descriptor)
                throw error
            }
            bytes = bytes.dropFirst(count)
        }
        let isSynced = fsync(descriptor) == 0
        close(descriptor)
        guard isSynced, rename(temporary, path) == 0 else { throw failure("write", path) }
        // The new name must survive a power failure too.
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    private static func failure(_ verb: String, _ path: String) -> NodeFailure {
        NodeFailure(
            "cannot \(verb) \(path): \(String(cString: strerror(errno)))", hint: "check the disk and the permissions",
            exitCode: 1)
    }
}
