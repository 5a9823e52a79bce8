// Asks a node for a sign of life without being a member: for `node doctor`, which tests UDP and TCP apart.
//
// The probe has a key and a node id of its own that it forgets afterwards. A node answers pings of anybody who has the
// key and takes nobody in for that.

package import ClusterModel
import Foundation
internal import Transport
internal import Wire

/// How a node answered a probe.
package enum ProbeOutcome: Hashable, Sendable {
    case answered(Duration)
    /// Nothing came back in time.
    case silent
    /// Nothing listens, or it wants no node with this key: why, in words.
    case refused(String)
}

package struct ClusterProbe: Sendable {
    private let keyring: Keyring
    private let cluster: ClusterIdentity
    private let identity: MemberIdentity

    private static let tries = 3
    private static let patience = Duration.seconds(1)

    /// Reads the keys that a node of this data directory would use, and changes nothing. Returns nil when there are none.
    ///
    /// Throws when they cannot be read or are damaged.
    package init?(
        dataDirectory: String, keyFile: String?, clusterName: String, shardCount: Int
    ) throws(NodeFailure) {
        guard let keyring = try ClusterFiles.storedKeyring(directory: dataDirectory, file: keyFile) else { return nil }
        self.keyring = keyring
        cluster = ClusterIdentity(
            name: clusterName, shardCount: shardCount, protocolVersions: Cluster.protocolVersions)
        var random = SystemRandomNumberGenerator()
        identity = MemberIdentity(
            id: NodeID(Bits128(high: random.next(), low: random.next())), boot: Boot(0), session: random.next())
    }

    /// All addresses of "HOST[:PORT]".
    package func addresses(of seed: String) async throws(NodeFailure) -> [Endpoint] {
        do throws(TransportFailure) {
            return try await HostAddress(seed, defaultPort: Cluster.defaultPort).resolve().get()
        } catch {
            throw NodeFailure(error.message, hint: error.hint)
        }
    }

    private var ping: GossipPacket { GossipPacket(sender: identity, kind: .ping(sequence: 1, target: nil)) }

    /// One sealed ping over UDP, repeated twice while nothing comes.
    package func datagram(to endpoint: Endpoint) async -> ProbeOutcome {
        await withCheckedContinuation { continuation in
            // Waits for its socket: a thread of its own, not one of the cooperative pool.
            let thread = Thread { continuation.resume(returning: exchangeDatagrams(with: endpoint)) }
            thread.name = "probe"
            thread.start()
        }
    }

    private func exchangeDatagrams(with endpoint: Endpoint) -> ProbeOutcome {
        let socket: DatagramSocket
        let any = endpoint.isIPv4 ? Endpoint(ipv4: 0, port: 0) : Endpoint(address: Bits128(high: 0, low: 0), port: 0)
        do throws(TransportFailure) {
            socket = try DatagramSocket(endpoint: any)
        } catch {
            return .refused(error.message)
        }
        defer { socket.close() }
        var sealer = GossipSealer(keyring: keyring, cluster: cluster, identity: identity)
        var opener = GossipOpener(keyring: keyring, cluster: cluster)
        var refusal: ProbeOutcome?
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.datagramByteCount + 1, alignment: 8)
        defer { buffer.deallocate() }
        for _ in 0..<Self.tries {
            let sent = ContinuousClock.now
            guard socket.send(sealer.seal(ping), to: endpoint) else {
                refusal = .refused("this machine did not send it (no route, or a local firewall)")
                continue
            }
            while ContinuousClock.now - sent < Self.patience {
                socket.wait(timeout: Self.patience - (ContinuousClock.now - sent))
                while let (count, source) = socket.receive(into: buffer) {
                    guard source == endpoint, count <= Limits.datagramByteCount else { continue }
                    do throws(DroppedDatagram) {
                        let packet = try opener.open(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                        if case .ack(1) = packet.kind { return .answered(ContinuousClock.now - sent) }
                    } catch {
                        refusal = .refused("its answer was dropped: \(error.rawValue)")
                    }
                }
            }
        }
        return refusal ?? .silent
    }

    /// One probe over TCP, under mutual TLS.
    package func stream(to endpoint: Endpoint) async -> ProbeOutcome {
        let clients: PeerClients
        do throws(TransportFailure) {
            clients = try PeerClients(node: identity.id, keyring: keyring)
        } catch {
            return .refused(error.message)
        }
        let sent = ContinuousClock.now
        let result = await clients.probe(
            GossipCodec.probeRequest(packet: ping, cluster: cluster), with: endpoint, member: nil,
            timeout: Self.patience * Self.tries)
        let took = ContinuousClock.now - sent
        await clients.close()
        switch result {
        case .failure(let failure): return failure.kind == .timedOut ? .silent : .refused(failure.message)
        case .success(let response):
            do throws(PacketError) {
                guard try GossipCodec.decode(response, cluster: cluster) != nil else {
                    return .refused("it did not take the probe: its cluster has another name or number of shards")
                }
                return .answered(took)
            } catch {
                return .refused("its answer is \(error)")
            }
        }
    }
}
