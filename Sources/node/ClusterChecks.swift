// What `node doctor` checks of the way to other nodes: key, port, seeds, datagrams. Nothing here is changed.

internal import ClusterModel
internal import ClusterConfiguration
import Foundation
import Glibc
internal import Results
internal import Wire

/// How a seed answered one question.
enum ProbeAnswer: Hashable, Sendable {
    case answered(Duration)
    /// Nothing came back in time.
    case silent
    /// Something is there and wants no node of this cluster, or nothing listens: why.
    case refused(String)
}

/// Asks seeds for a sign of life. The doctor has no sockets of its own.
protocol SeedProbe: Sendable {
    /// All addresses of "HOST[:PORT]". Throws what is to be said when there are none.
    func addresses(of seed: String) async throws -> [Endpoint]
    /// One sealed ping over UDP.
    func datagram(to endpoint: Endpoint) async -> ProbeAnswer
    /// One call over TCP, with mutual TLS.
    func stream(to endpoint: Endpoint) async -> ProbeAnswer
}

/// Whether a node could listen at an address now.
enum PortState: Hashable, Sendable {
    case free
    /// "TCP" or "UDP", that somebody listens at already.
    case taken(String)
    case unusable(String)
}

enum ClusterChecks {
    typealias Finding = DoctorCommand.Finding

    private static let keyModes: mode_t = 0o077
    private static let defaultAddress = (withKey: "0.0.0.0:7400", without: "127.0.0.1:7400")

    // MARK: Key

    /// The key file: there, a secret, readable, a key.
    static func key(_ configuration: NodeConfiguration, directory: String) -> Finding {
        let named = configuration.cluster.keyFile
        let path = named.isEmpty ? directory + "/cluster.key" : named
        let keygen = "copy it from another node, or make the first with `node keygen \(path)`"
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            guard errno == ENOENT || errno == ENOTDIR else {
                return Finding(
                    "key", .fail, "\(path): \(String(cString: strerror(errno)))", cure: "run as the node's user")
            }
            if !named.isEmpty { return Finding("key", .fail, "\(path) is not there", cure: keygen) }
            if hasKeyring(directory) { return Finding("key", .ok, "the keyring of the data directory") }
            let address = configuration.listen.address
            let needsKey =
                address.isEmpty ? !configuration.cluster.seeds.isEmpty : !ListenAddress.isLoopback(address)
            return needsKey
                ? Finding("key", .fail, "\(path) is not there, and other nodes are to be spoken to", cure: keygen)
                : Finding("key", .ok, "none is needed: the node listens on this machine only")
        }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            return Finding("key", .fail, "\(path) is no file", cure: keygen)
        }
        do {
            let key = try KeyFile.read(path)
            guard facts.st_mode & keyModes == 0 else {
                return Finding(
                    "key", .warn,
                    "\(path) has mode \(String(facts.st_mode & 0o777, radix: 8)): others can read or write it",
                    cure: "chmod 600 \(path); if somebody has read it: a new key with `node keys` (docs/operations.md)")
            }
            return Finding("key", .ok, "\(path), digest \(key.digest)")
        } catch {
            let failure = CommandFailure(error)
            return Finding("key", .fail, failure.message, cure: failure.hint)
        }
    }

    private static func hasKeyring(_ directory: String) -> Bool { access(directory + "/cluster.keys", F_OK) == 0 }

    // MARK: Port

    /// The address that a node would listen at, free or held by the node that runs here.
    static func listen(
        _ configuration: NodeConfiguration, directory: String, running: Ocr_V1_NodeStatus?,
        probe: (String) -> PortState
    ) -> Finding {
        if let running {
            return Finding("listen", .ok, "held by the running node: \(HumanText.printable(running.address))")
        }
        let hasKey =
            !configuration.cluster.keyFile.isEmpty || access(directory + "/cluster.key", F_OK) == 0
            || hasKeyring(directory)
        let configured = configuration.listen.address
        let address =
            configured.isEmpty ? (hasKey ? defaultAddress.withKey : defaultAddress.without) : configured
        switch probe(address) {
        case .free: return Finding("listen", .ok, "\(address) is free, TCP and UDP")
        case .taken(let kind):
            return Finding(
                "listen", .fail, "\(address): another program holds the \(kind) port",
                cure: "end it (`ss -lntup` names it), or choose another port with [listen] address or --listen")
        case .unusable(let why):
            return Finding(
                "listen", .fail, "\(address): \(why)", cure: "name an address of this machine: `ip -brief address`")
        }
    }

    /// Tries both ports and gives them back.
    static func portState(_ address: String) -> PortState {
        guard let colon = address.lastIndex(of: ":") else { return .unusable("no port") }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        let port = String(address[address.index(after: colon)...])
        for (kind, type) in [("TCP", SOCK_STREAM), ("UDP", SOCK_DGRAM)] {
            var hints = addrinfo()
            hints.ai_flags = AI_PASSIVE
            hints.ai_socktype = CInt(type.rawValue)
            var found: UnsafeMutablePointer<addrinfo>?
            let code = getaddrinfo(String(host), port, &hints, &found)
            guard code == 0, let first = found else { return .unusable(String(cString: gai_strerror(code))) }
            defer { freeaddrinfo(found) }
            let descriptor = socket(first.pointee.ai_family, CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { return .unusable(String(cString: strerror(errno))) }
            defer { close(descriptor) }
            // Connections of an ended node that still linger do not hold the port.
            var isReused: CInt = 1
            if type == SOCK_STREAM {
                setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isReused, socklen_t(MemoryLayout<CInt>.size))
            }
            if bind(descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) != 0 {
                return errno == EADDRINUSE ? .taken(kind) : .unusable(String(cString: strerror(errno)))
            }
        }
        return .free
    }

    // MARK: Seeds

    /// Each seed at all its addresses, UDP and TCP apart. Nothing is found where there is nothing to ask with.
    static func seeds(_ seeds: [String], probe: (any SeedProbe)?) async -> [Finding] {
        guard let probe else { return [] }
        var findings: [Finding] = []
        for seed in seeds {
            do {
                let addresses = try await probe.addresses(of: seed)
                for address in addresses {
                    async let stream = probe.stream(to: address)
                    async let datagram = probe.datagram(to: address)
                    findings.append(
                        self.seed(
                            seed, address, stream: await stream, datagram: await datagram,
                            isOnly: addresses.count == 1))
                }
                if addresses.isEmpty { findings.append(Finding("seed", .fail, "\(seed) has no address")) }
            } catch {
                findings.append(
                    Finding(
                        "seed", .fail, "\(seed): \(CommandFailure(error).message)",
                        cure: "check the name's spelling and the name servers, or name a numeric address"))
            }
        }
        return findings
    }

    private static func seed(
        _ seed: String, _ address: Endpoint, stream: ProbeAnswer, datagram: ProbeAnswer, isOnly: Bool
    ) -> Finding {
        let shown = address.description == seed ? seed : "\(seed) (\(address))"
        // Where a name has other addresses, one that is silent may be of a network that this machine is not in.
        let bad = isOnly ? Finding.Verdict.fail : .warn
        switch (stream, datagram) {
        case (.answered(let tcp), .answered(let udp)):
            return Finding("seed", .ok, "\(shown) answers: TCP in \(text(tcp)), UDP in \(text(udp))")
        case (.answered, .silent), (.answered, .refused):
            return Finding(
                "seed", .warn, "\(shown): TCP answers, UDP does not\(reason(datagram))",
                cure: "allow UDP port \(address.port) in the firewall or security group, in both directions")
        case (.silent, .answered), (.refused, .answered):
            return Finding(
                "seed", bad, "\(shown): UDP answers, TCP does not\(reason(stream))",
                cure: "allow TCP port \(address.port) in the firewall or security group")
        case (.refused(let why), _):
            return Finding(
                "seed", bad, "\(shown): \(why)",
                cure: "see that a node runs there (`node status`) with the same key (`node keys list`)")
        case (.silent, _):
            return Finding(
                "seed", bad, "\(shown): neither TCP nor UDP answers",
                cure: "see that the machine and its node run, then allow port \(address.port), TCP and UDP")
        }
    }

    private static func reason(_ answer: ProbeAnswer) -> String {
        if case .refused(let why) = answer { " (\(why))" } else { "" }
    }

    private static func text(_ duration: Duration) -> String {
        "\(max(1, Int((duration.inSeconds * 1_000).rounded()))) ms"
    }

    // MARK: Datagrams

    /// What the running node dropped, and the members that datagrams do not reach.
    static func datagrams(_ status: Ocr_V1_StatusResponse) -> [Finding] {
        var findings: [Finding] = []
        if let own = status.nodes.first(where: { $0.id == status.answeredBy }) {
            if let dropped = StatusReport.droppedText(own) {
                findings.append(Finding("datagrams", .warn, "dropped since the start: \(dropped)", cure: cure(own)))
            } else {
                findings.append(Finding("datagrams", .ok, "none was dropped"))
            }
        }
        if let own = status.nodes.first(where: { $0.id == status.answeredBy }) {
            if let refused = StatusReport.refusedText(own) {
                findings.append(
                    Finding(
                        "connections", .warn, "refused or failed since the start: \(refused)",
                        cure: "wrong key: compare `node keys list` on both sides; else see who connects to this port"))
            }
            if own.hasMalformedRequests, own.malformedRequests > 0 {
                findings.append(
                    Finding(
                        "connections", .warn,
                        "\(own.malformedRequests) requests of other nodes were not within the rules",
                        cure: "compare the versions of all nodes: `node status`"))
            }
        }
        for node in status.nodes where node.hasDatagramsBlocked && node.datagramsBlocked {
            findings.append(
                Finding(
                    "datagrams", .warn,
                    "\(HumanText.printable(node.name)) (\(HumanText.printable(node.address))): TCP answers, UDP does not",
                    cure: "allow its UDP port in the firewall or security group, in both directions"))
        }
        return findings
    }

    /// What to do about the most frequent reason. The names of the reasons are those of docs/protocol.md.
    private static func cure(_ node: Ocr_V1_NodeStatus) -> String {
        let most = node.droppedDatagrams.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
        return switch most {
        case "wrong-key", "forged": "a node with another key sends here: `node keys list` on both, then copy the key"
        case "wrong-cluster": "a node of another cluster has the same key: give each cluster its own"
        case "protocol": "a node of another version sends here: compare `node --version`"
        case "replay": "a few are repeated by the network; many may be an attack, or a copied data directory"
        default: "something else sends to this port, or the network damages datagrams"
        }
    }
}
