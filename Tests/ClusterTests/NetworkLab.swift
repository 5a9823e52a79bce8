// A network for real nodes: one namespace for each, joined by a bridge in one more. Its rules cut, lose and block.
//
// Nothing leads out of it: the addresses exist in the namespaces alone, and none of them has a route or an interface to
// anywhere else. Nothing of it stays: a guard process holds the reading end of a pipe, and when the test ends in
// whatever way, the pipe closes and the guard kills what runs in the namespaces and removes them.

import Foundation
import Glibc

struct LabError: Error, CustomStringConvertible {
    let description: String
}

final class NetworkLab {
    /// Nodes are numbered from 1, as their addresses are.
    let numbers: ClosedRange<Int>
    /// Goes away with the lab.
    let directory: String
    /// The configuration file of all nodes.
    var configuration: String { directory + "/cluster.conf" }
    private let prefix: String
    private let guardian: Process
    private let lifeline: FileHandle
    /// What arrives at a node is dropped by these rules, by node.
    private var rules: [Int: [String]] = [:]

    init(nodes count: Int) throws {
        numbers = 1...count
        prefix = Self.freshName()
        directory = NSTemporaryDirectory() + prefix
        guardian = Process()
        let pipe = Pipe()
        lifeline = pipe.fileHandleForWriting
        // No other child of the test may hold the pipe open.
        _ = fcntl(lifeline.fileDescriptor, F_SETFD, FD_CLOEXEC)
        guardian.executableURL = URL(fileURLWithPath: "/bin/bash")
        guardian.arguments =
            ["-c", Self.guardScript, "guard", directory, prefix + "hub"] + numbers.map { prefix + "\($0)" }
        guardian.environment = Self.environment
        guardian.standardInput = pipe.fileHandleForReading
        guardian.standardOutput = FileHandle.nullDevice
        guardian.standardError = FileHandle.nullDevice
        try guardian.run()
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try Self.shell(buildScript)
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    /// Ends everything in the lab and removes it; returns when that is done.
    func close() {
        guard guardian.isRunning else { return }
        try? lifeline.close()
        guardian.waitUntilExit()
    }

    /// No other test, and no other run of the tests, has it.
    private static func freshName() -> String {
        "ocrlab-" + String(UInt64.random(in: 0..<1 << 48), radix: 36) + "-"
    }

    func namespace(_ number: Int) -> String { prefix + "\(number)" }

    func address(_ number: Int) -> String { Self.address(number) }

    static func address(_ number: Int) -> String { "10.77.0.\(number)" }

    // MARK: Faults

    /// Nothing passes between the two groups; each is whole in itself.
    func partition(_ left: [Int], _ right: [Int]) throws {
        for (ones, others) in [(left, right), (right, left)] {
            for number in ones {
                for other in others { rules[number, default: []].append("ip saddr \(address(other)) drop") }
            }
        }
        try apply()
    }

    /// What `sender` sends does not reach `receiver`; the other way is open.
    func cut(from sender: Int, to receiver: Int) throws {
        rules[receiver, default: []].append("ip saddr \(address(sender)) drop")
        try apply()
    }

    /// So much of what is sent to any node gets lost.
    func lose(percent: Int) throws {
        for number in numbers { rules[number, default: []].append("numgen random mod 100 < \(percent) drop") }
        try apply()
    }

    /// Between this node and the others only TCP passes, as with a security group that somebody forgot UDP in.
    func blockDatagrams(around number: Int) throws {
        for other in numbers where other != number {
            rules[number, default: []].append("ip saddr \(address(other)) meta l4proto udp drop")
            rules[other, default: []].append("ip saddr \(address(number)) meta l4proto udp drop")
        }
        try apply()
    }

    /// Everything passes again.
    func heal() throws {
        rules = [:]
        try apply()
    }

    private func apply() throws {
        var script = "set -e\n"
        for number in numbers {
            script += "ip netns exec \(namespace(number)) nft -f - <<'END'\n"
            script += "flush chain inet lab arriving\n"
            for rule in rules[number] ?? [] { script += "add rule inet lab arriving \(rule)\n" }
            script += "END\n"
        }
        try Self.shell(script)
    }

    // MARK: Building and ending

    private var buildScript: String {
        let hub = prefix + "hub"
        var script = """
            set -e
            ip netns add \(hub)
            ip -n \(hub) link add hub type bridge
            ip -n \(hub) link set hub up

            """
        for number in numbers {
            script += """
                ip netns add \(namespace(number))
                ip link add name eth0 netns \(namespace(number)) type veth peer name port\(number) netns \(hub)
                ip -n \(hub) link set port\(number) master hub up
                ip -n \(namespace(number)) link set lo up
                ip -n \(namespace(number)) address add \(address(number))/24 dev eth0
                ip -n \(namespace(number)) link set eth0 up
                ip netns exec \(namespace(number)) nft -f - <<'END'
                table inet lab {
                    chain arriving { type filter hook input priority 0; policy accept; }
                }
                END

                """
        }
        return script
    }

    /// Signals to the test's group, as from Ctrl-C, do not end it before its work is done. A killed process may leave
    /// a child that is about to start another: looked for again until there is none.
    private static let guardScript = """
        trap '' INT TERM HUP QUIT PIPE
        read -r line
        directory=$1; shift
        for round in 1 2 3 4 5; do
            left=
            for name in "$@"; do
                pids=$(ip netns pids "$name" 2>/dev/null) || continue
                [ -z "$pids" ] || { left=yes; kill -9 $pids; }
            done
            [ -n "$left" ] || break
        done 2>/dev/null
        for name in "$@"; do ip netns delete "$name"; done 2>/dev/null
        while read -r _ place _; do
            case $place in "$directory"/*) umount -l "$place" ;; esac
        done </proc/self/mounts 2>/dev/null
        rm -rf "$directory"
        """

    static let environment: [String: String] = {
        var environment = ProcessInfo.processInfo.environment
        for name in environment.keys where name.hasPrefix("NODE_") { environment[name] = nil }
        // Wherever the tests run: no node asks a metadata service.
        environment["NODE_CLOUD_PROVIDER"] = "none"
        environment["PATH"] = (environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"
        return environment
    }()

    /// Runs a script of a few quick commands; its complaints are the error.
    static func shell(_ script: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-s", "KILL", "30", "/bin/bash", "-c", script]
        process.environment = environment
        let complaints = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = complaints
        try process.run()
        let said = String(decoding: try complaints.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw LabError(description: "the lab's command failed (\(process.terminationStatus)): \(said)")
        }
    }

    // MARK: Where there can be a lab

    /// Whether namespaces, bridges and random rules can be made here; says once why not. Leaves nothing behind.
    static let isPossible: Bool = {
        guard let obstacle else { return true }
        FileHandle.standardError.write(Data("ClusterTests are skipped: \(obstacle)\n".utf8))
        return false
    }()

    private static let obstacle: String? = {
        guard geteuid() == 0 else { return "network namespaces need root" }
        let name = freshName()
        let script = """
            set -e
            for tool in ip nft; do
                command -v $tool >/dev/null || { echo "$tool is not installed: scripts/install-packages.sh test" >&2; exit 1; }
            done
            ip netns add \(name)
            trap 'ip netns delete \(name)' EXIT
            ip -n \(name) link add hub type bridge
            ip link add name eth0 netns \(name) type veth peer name port0 netns \(name)
            ip netns exec \(name) nft add table inet lab
            ip netns exec \(name) nft 'add chain inet lab arriving { type filter hook input priority 0; }'
            ip netns exec \(name) nft 'add rule inet lab arriving numgen random mod 100 < 20 drop'
            """
        do { try shell(script) } catch { return "\(error)" }
        return nil
    }()
}
