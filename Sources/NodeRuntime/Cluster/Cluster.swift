// The node's part in the cluster: its keys, its sockets, its membership core, and the calls to other nodes.
//
// Order of the start: keys; the TCP port, then the UDP port of the same number; the gossip thread; seeds. Of the end:
// good-bye by gossip; then the server and the connections.

internal import ClusterModel
internal import Coordination
import Dispatch
import Foundation
internal import Logging
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// What of the node answers other nodes, and is told by them.
struct ClusterParts: Sendable {
    var admin: AdminService
    var loop: StepLoop
    var outgoing: PeerPostReference
    var sources: NodeSources
    /// Called when the cluster knows of a later start of this node than its data directory does.
    var onOlderCopy: @Sendable () -> Void
}

/// What the cluster part is made with; from the options and the ledger.
struct ClusterSettings: Sendable {
    var identity: MemberIdentity
    var facts: NodeFacts
    var options: NodeOptions
}

final class Cluster: Sendable {
    static let defaultPort: UInt16 = 7_400
    static let protocolVersions: ClosedRange<UInt32> = 1...1

    let identity: MemberIdentity
    let clusterIdentity: ClusterIdentity
    /// Where other nodes reach this one.
    let endpoint: Endpoint
    let loop: GossipLoop
    let clients: PeerClients
    let keys: KeyringStore
    let feed: MemberFeed
    /// Copies files to other nodes before this one goes.
    let spooling: any DrainSpooling
    private let server: PeerServer
    private let service: PeerService
    private let options: NodeOptions
    private let logger: Logger
    private let joinState: JoinState

    // MARK: Start

    /// Binds the ports and begins to gossip.
    ///
    /// - Parameters:
    ///   - parts: what answers other nodes.
    ///   - onFatal: called when the node has to end: another process has its identity, or `node join` was refused.
    static func start(
        _ settings: ClusterSettings, logger: Logger,
        parts: ClusterParts,
        onFatal: @escaping @Sendable (NodeFailure) -> Void
    ) async throws -> Cluster {
        let options = settings.options
        let listening = try await ListenAddress.choose(options)
        let (keyring, warning) = try ClusterFiles.keyring(
            directory: options.dataDirectory, file: options.keyFile, makesKey: listening.endpoint.isLoopback)
        if let warning { logger.warning("\(warning)") }
        let seeds = try await resolve(options.seeds, logger)
        let clusterIdentity = ClusterIdentity(
            name: options.clusterName, shardCount: options.layout.count, protocolVersions: protocolVersions)
        let clients: PeerClients
        do throws(TransportFailure) {
            clients = try PeerClients(node: settings.identity.id, keyring: keyring)
        } catch {
            throw NodeFailure(error.message, hint: error.hint)
        }
        let relay = PeerRelay()
        let server: PeerServer
        let bound: Endpoint
        do throws(TransportFailure) {
            server = try PeerServer(
                endpoint: listening.endpoint, node: settings.identity.id, keyring: keyring, handler: relay)
            bound = try await server.start()
        } catch {
            guard listening.mayChoosePort else { throw NodeFailure(error.message, hint: error.hint) }
            return try await start(
                settings.listening(at: "\(listening.endpoint.host):0"), logger: logger, parts: parts, onFatal: onFatal
            )
        }
        let socket: DatagramSocket
        do throws(TransportFailure) {
            socket = try DatagramSocket(endpoint: bound)
        } catch {
            await server.stop()
            guard listening.mayChoosePort else { throw NodeFailure(error.message, hint: error.hint) }
            return try await start(
                settings.listening(at: "\(listening.endpoint.host):0"), logger: logger, parts: parts, onFatal: onFatal
            )
        }
        let advertised = try await advertisedEndpoint(options, bound, seeds, logger)
        let joinState = JoinState(isJoining: options.isJoining, onFatal: onFatal)
        let calls = PeerCalls(
            clients: clients, cluster: clusterIdentity, directory: options.dataDirectory, logger: logger,
            onOlderCopy: parts.onOlderCopy)
        let posting = PostBox()
        let remembered = ClusterFiles.members(directory: options.dataDirectory)
        let work = parts.loop
        let feed = MemberFeed(isAlone: seeds.isEmpty && remembered.isEmpty, costs: parts.admin.costs) { work.post($0) }
        let loop = GossipLoop(
            socket: socket,
            hooks: GossipHooks(
                carryOut: { effect in calls.carryOut(effect) { posting.loop?.post($0) } },
                onEvent: { event, names in
                    MembershipLog.note(event, names, to: logger)
                    joinState.note(event)
                    if case .joined = event { feed.open() }
                },
                onMembers: { feed.take($0) },
                onRefusal: { duplicate in onFatal(Self.failure(duplicate, options.dataDirectory)) }))
        posting.set(loop)
        let keys = KeyringStore(keyring, directory: options.dataDirectory) { ring in
            loop.replace(keyring: ring)
            do throws(TransportFailure) {
                try clients.replace(keyring: ring)
                try server.replace(keyring: ring)
            } catch {
                logger.error("the new keys cannot be used over TCP: \(error)")
            }
        }
        let service = PeerService(
            cluster: clusterIdentity, loop: loop, keys: keys, admin: parts.admin, work: parts.loop, feed: feed,
            sources: parts.sources.answers(parts.admin.reader), reuse: parts.sources.reuse)
        relay.set(service)
        let configuration = options.membership
        let facts = MemberFacts(
            name: settings.facts.name, endpoint: advertised, zone: options.zone, version: NodeFacts.version)
        let identity = settings.identity
        loop.start(keyring: keyring, cluster: clusterIdentity) { now in
            Membership(
                configuration: configuration, cluster: clusterIdentity, identity: identity, facts: facts,
                seed: identity.session ^ identity.id.bits.low, at: now)
        }
        parts.outgoing.set(PeerPost(deliver: { await Self.deliver($0, to: $1, clients, feed) }))
        let cluster = Cluster(
            identity: identity, clusterIdentity: clusterIdentity, endpoint: advertised, loop: loop, clients: clients,
            keys: keys, feed: feed, spooling: parts.sources.spooling(parts.admin.reader), server: server,
            service: service, options: options, logger: logger, joinState: joinState)
        cluster.begin(seeds: seeds)
        logger.info("listening at \(bound) (UDP and TCP), known to others as \(advertised)")
        return cluster
    }

    private init(
        identity: MemberIdentity, clusterIdentity: ClusterIdentity, endpoint: Endpoint, loop: GossipLoop,
        clients: PeerClients, keys: KeyringStore, feed: MemberFeed, spooling: any DrainSpooling, server: PeerServer,
        service: PeerService, options: NodeOptions,
        logger: Logger, joinState: JoinState
    ) {
        self.identity = identity
        self.clusterIdentity = clusterIdentity
        self.endpoint = endpoint
        self.loop = loop
        self.clients = clients
        self.keys = keys
        self.feed = feed
        self.spooling = spooling
        self.server = server
        self.service = service
        self.options = options
        self.logger = logger
        self.joinState = joinState
    }

    private func begin(seeds: [Endpoint]) {
        // Those that were members in the latest run are asked as well: a restarted node needs no seed.
        let remembered = ClusterFiles.members(directory: options.dataDirectory).filter { $0 != endpoint }
        let all = seeds + remembered.filter { !seeds.contains($0) }
        if !all.isEmpty { loop.post(.join(all)) }
        feed.start(loop)
        if options.isJoining, let timeout = options.joinTimeout { joinState.giveUp(after: timeout, options.seeds) }
    }

    // MARK: Messages

    /// How long one delivery may take; what it carries is of some seconds' use.
    private static let deliveryTimeout = Duration.seconds(10)

    private static func deliver(
        _ messages: [CoordinationMessage], to peer: NodeID, _ clients: PeerClients, _ feed: MemberFeed
    ) async -> PeerPost.Answer {
        guard let endpoint = feed.endpoint(of: peer) else { return .failed }
        var request = Ocr_V1_DeliverRequest()
        request.messages = messages.map { CoordinationCodec.encode($0) }
        let result = await clients.deliver(
            request, estimatedByteCount: messages.reduce(0) { $0 + $1.approximateByteCount }, to: endpoint,
            member: peer,
            timeout: deliveryTimeout)
        switch result {
        case .success(let answer): return answer.busy ? .busy : .taken
        case .failure: return .failed
        }
    }

    // MARK: Figures

    /// Requests and messages that were not within the rules.
    var malformedCount: Int { service.malformedCount }

    /// Connections that were refused or failed, by reason.
    var refusedConnections: [String: UInt64] {
        let statistics = server.statistics
        return [
            "wrong key": UInt64(statistics.wrongKeyCount),
            "failed handshake": UInt64(statistics.failedHandshakeCount),
            "handshake timed out": UInt64(statistics.timedOutHandshakeCount),
            "too many connections": UInt64(statistics.overLimitCount),
        ]
    }

    /// Says good-bye. Ends within the good-bye's own time limit.
    ///
    /// - Parameter comesBack: the node keeps its data and will be started again.
    func leave(comesBack: Bool) async {
        feed.stop()
        await loop.leave(comesBack: comesBack)
    }

    /// Closes the sockets, after the calls that are under way have ended or had their time.
    func close() async {
        await server.stop()
        await clients.close()
    }

    // MARK: Join

    /// Joins through any of the seeds while running; returns when one has answered.
    func join(_ seeds: [String], within timeout: Duration) async throws -> (through: Endpoint, members: Int) {
        let endpoints = try await Self.resolve(seeds, logger)
        guard !endpoints.isEmpty else {
            throw AdminError.badUsage("none of the seeds has an address: \(seeds.joined(separator: ", "))")
        }
        return try await joinState.join(within: timeout) { [loop] in loop.post(.join(endpoints)) }
    }

    /// All addresses of all seeds. A name that is not known is said and left out.
    private static func resolve(_ seeds: [String], _ logger: Logger) async throws -> [Endpoint] {
        var endpoints: [Endpoint] = []
        for seed in seeds {
            do throws(TransportFailure) {
                for endpoint in try await HostAddress(seed, defaultPort: defaultPort).resolve().get()
                where !endpoints.contains(endpoint) { endpoints.append(endpoint) }
            } catch {
                if error.kind == .invalidAddress { throw NodeFailure(error.message, hint: error.hint, exitCode: 64) }
                logger.warning("seed \(seed): \(error.message)")
            }
        }
        return Array(endpoints.prefix(Limits.seedCount))
    }

    private static func advertisedEndpoint(
        _ options: NodeOptions, _ bound: Endpoint, _ seeds: [Endpoint], _ logger: Logger
    ) async throws -> Endpoint {
        if let text = options.advertise {
            do throws(TransportFailure) {
                let found = try await HostAddress(text, defaultPort: bound.port).resolve().get()
                if let endpoint = found.first { return endpoint }
            } catch {
                throw NodeFailure("--advertise \(text): \(error.message)", hint: error.hint, exitCode: 78)
            }
        }
        let choice = HostAddress.advertised(listen: bound, toward: seeds)
        if !choice.alternatives.isEmpty {
            let others = choice.alternatives.joined(separator: ", ")
            logger.info(
                "of several addresses \(choice.endpoint.host) is told to others (also there: \(others)); --advertise names another"
            )
        }
        return choice.endpoint
    }

    private static func failure(_ duplicate: DuplicateIdentity, _ directory: String) -> NodeFailure {
        NodeFailure(
            "another node with the same id \(duplicate.id) runs at \(duplicate.otherEndpoint), for \(Int(duplicate.otherUptime.inSeconds)) s: the data directory \(directory) is a copy of that node's",
            hint: "give this machine an empty data directory: it gets an identity of its own and its share of the work",
            exitCode: 3)
    }
}

extension ClusterSettings {
    fileprivate func listening(at address: String) -> ClusterSettings {
        var changed = self
        changed.options.listen = address
        return changed
    }
}

/// Where to listen when nothing is said.
private struct ListenAddress {
    let endpoint: Endpoint
    /// A node alone on its machine takes another port when the usual one is taken: nobody has to find it.
    let mayChoosePort: Bool

    static func choose(_ options: NodeOptions) async throws -> ListenAddress {
        if let text = options.listen {
            do throws(TransportFailure) {
                // Port 0, "any free one", is no address of a node, only one to listen at.
                let isAnyPort = text.hasSuffix(":0")
                let host = try HostAddress(
                    isAnyPort ? String(text.dropLast(2)) : text, defaultPort: Cluster.defaultPort)
                guard let endpoint = try await host.resolve().get().first else {
                    throw TransportFailure(.unknownHost, "\(text) has no address")
                }
                return ListenAddress(
                    endpoint: isAnyPort ? endpoint.with(port: 0) : endpoint, mayChoosePort: false)
            } catch {
                throw NodeFailure("--listen \(text): \(error.message)", hint: error.hint, exitCode: 78)
            }
        }
        let keyPath = options.keyFile ?? ClusterFiles.defaultKeyPath(in: options.dataDirectory)
        let hasKey =
            access(keyPath, F_OK) == 0 || access(ClusterFiles.keyringPath(in: options.dataDirectory), F_OK) == 0
        let address: UInt32 = hasKey || !options.seeds.isEmpty ? 0 : 0x7F00_0001
        return ListenAddress(
            endpoint: Endpoint(ipv4: address, port: Cluster.defaultPort),
            mayChoosePort: address != 0)
    }
}

/// Lets the loop's own effects post back to it.
private final class PostBox: Sendable {
    private let box = Mutex<GossipLoop?>(nil)
    func set(_ loop: GossipLoop) { box.withLock { $0 = loop } }
    var loop: GossipLoop? { box.withLock { $0 } }
}
