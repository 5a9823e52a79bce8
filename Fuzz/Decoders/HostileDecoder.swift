// Every decoder that takes bytes from the network or from a key file, behind one door: the seeded mutations of
// `make test`, the fuzzer of `make fuzz` and the replay of its findings go through it.
//
// A decoder may refuse bytes. It must not trap, and what it accepts must be within the limits and survive being encoded
// and decoded again: both are preconditions here, so that a fuzzer sees a breach as a crash.

package import ClusterModel
internal import FoundationEssentials
internal import SwiftProtobuf
internal import Wire

/// One decoder. The raw value is the first byte of a fuzzer's input and of a file of Tests/Fixtures/fuzz: never used
/// again for another one.
package enum HostileDecoder: UInt8, CaseIterable, Sendable {
    case datagram = 0
    case packet = 1
    case exchangeRequest = 2
    case exchangeResponse = 3
    case probeRequest = 4
    case probeResponse = 5
    case keyringRequest = 6
    case keyringResponse = 7
    case reportResponse = 8
    case clusterKey = 9
    case keyring = 10
    case coordination = 11
    case readSource = 12
    case spoolEntry = 13

    /// Gives the input's rest to the decoder that its first byte names. Returns whether it was accepted.
    @discardableResult
    package static func run(tagged input: some Collection<UInt8>) -> Bool {
        guard let first = input.first, let decoder = HostileDecoder(rawValue: first) else { return false }
        return decoder.run(Array(input.dropFirst()))
    }

    /// Returns whether the bytes were accepted.
    @discardableResult
    package func run(_ bytes: [UInt8]) -> Bool {
        do {
            switch self {
            case .datagram: try datagram(bytes)
            case .packet: try packet(bytes)
            case .exchangeRequest: try exchangeRequest(bytes)
            case .exchangeResponse: try exchangeResponse(bytes)
            case .probeRequest: try probeRequest(bytes)
            case .probeResponse: try probeResponse(bytes)
            case .keyringRequest: try keyringRequest(bytes)
            case .keyringResponse: _ = try Ocr_V1_KeyringResponse(serializedBytes: bytes)
            case .reportResponse: _ = try Ocr_V1_ReportResponse(serializedBytes: bytes)
            case .clusterKey:
                guard let key = ClusterKey(text: String(decoding: bytes, as: UTF8.self)) else { return false }
                precondition(ClusterKey(text: key.text) == key)
            case .keyring:
                guard let ring = Keyring(text: String(decoding: bytes, as: UTF8.self)) else { return false }
                precondition(Keyring(text: ring.text) == ring && ring.keys.count <= Keyring.keyCount)
            case .coordination: try coordination(bytes)
            case .readSource: try readSource(bytes)
            case .spoolEntry: try spoolEntry(bytes)
            }
            return true
        } catch {
            return false
        }
    }

    private static let cluster = ClusterIdentity.sample
    private static let sender = MemberIdentity(
        id: NodeID(Bits128(high: 1, low: 2)), boot: Boot(3), session: 4)

    private func datagram(_ bytes: [UInt8]) throws {
        var opener = GossipOpener(keyring: Keyring(.sample(1)), cluster: Self.cluster)
        check(try opener.open(bytes))
        precondition(opener.sessionCount == 1)
    }

    private func packet(_ bytes: [UInt8]) throws {
        check(
            try GossipCodec.packet(bytes, id: Self.sender.id, session: Self.sender.session, cluster: Self.cluster))
    }

    private func check(_ packet: GossipPacket) {
        precondition(packet.updates.count <= Limits.packetUpdateCount && packet.loads.count <= Limits.packetLoadCount)
        for update in packet.updates { check(update) }
        for load in packet.loads { check(load) }
        let message = GossipCodec.message(packet, cluster: Self.cluster)
        let encoded: [UInt8]? = try? message.serializedBytes()
        precondition(encoded.map { $0.count <= packet.byteCount } ?? false, "longer than reckoned")
        let again = try? GossipCodec.packet(
            encoded ?? [], id: packet.sender.id, session: packet.sender.session, cluster: Self.cluster)
        precondition(again == packet, "another packet after encoding")
    }

    private func check(_ update: MemberUpdate) {
        precondition(update.isConsistent)
        if let facts = update.facts {
            precondition(
                facts.endpoint.port > 0 && !facts.endpoint.isUnspecified && !facts.endpoint.description.isEmpty)
        }
    }

    private func check(_ load: LoadRecord) {
        precondition(
            load.figures.workers <= UInt32(Limits.workerCount) && load.figures.busy <= UInt32(Limits.workerCount))
    }

    private func check(_ state: StateExchange) {
        precondition((state.members ?? []).count <= Limits.memberCount)
        precondition(state.loads.count <= Limits.exchangedLoadCount)
        precondition(GossipCodec.shardCounts.contains(state.cluster.shardCount))
        precondition(state.cluster.name.utf8.count <= Limits.memberLabelByteCount)
        for update in [state.sender] + (state.members ?? []) {
            check(update)
            precondition(update.facts != nil)
        }
        for load in state.loads { check(load) }
        precondition((try? GossipCodec.decode(GossipCodec.encode(state))) == state, "another state after encoding")
    }

    private func exchangeRequest(_ bytes: [UInt8]) throws {
        check(try GossipCodec.decode(Ocr_V1_ExchangeRequest(serializedBytes: bytes)))
    }

    private func exchangeResponse(_ bytes: [UInt8]) throws {
        let reply = try GossipCodec.decode(Ocr_V1_ExchangeResponse(serializedBytes: bytes))
        switch reply {
        case .state(let state): check(state)
        case .refused(let refusal): precondition(!refusal.description.isEmpty)
        }
        precondition((try? GossipCodec.decode(GossipCodec.encode(reply))) == reply, "another reply after encoding")
    }

    private func probeRequest(_ bytes: [UInt8]) throws {
        check(try GossipCodec.decode(Ocr_V1_ProbeRequest(serializedBytes: bytes), cluster: Self.cluster))
    }

    private func probeResponse(_ bytes: [UInt8]) throws {
        let packet = try GossipCodec.decode(Ocr_V1_ProbeResponse(serializedBytes: bytes), cluster: Self.cluster)
        if let packet { check(packet) }
    }

    private func keyringRequest(_ bytes: [UInt8]) throws {
        var ring = Keyring(.sample(1))
        try ring.add(.sample(2))
        switch try Ocr_V1_KeyringRequest(serializedBytes: bytes).kind {
        case .add(let key):
            guard let key = ClusterKey(bytes: Array(key)) else { throw PacketError.malformed("key") }
            try ring.add(key)
        case .use(let digest): try ring.use(digest)
        case .remove(let digest): try ring.remove(digest)
        case .list, nil: break
        }
        precondition((1...Keyring.keyCount).contains(ring.keys.count) && Set(ring.keys).count == ring.keys.count)
    }

    /// Few shards, so that random numbers meet their bound.
    private static let layout = ShardLayout(exponent: 4)

    private func coordination(_ bytes: [UInt8]) throws {
        let envelope = try Ocr_V1_CoordinationEnvelope(serializedBytes: bytes)
        let message = try CoordinationCodec.decode(envelope, layout: Self.layout)
        precondition(
            (try? CoordinationCodec.decode(CoordinationCodec.encode(message), layout: Self.layout)) == message,
            "another message after encoding")
        switch message {
        case .copies(let copies):
            for copy in copies.copies {
                check(copy.record)
                precondition(copy.result?.digest == copy.record.resultDigest)
            }
        case .grant(let grant):
            for job in grant.jobs { check(job.record) }
            // Where a core adds them to its clock.
            _ = Instant(nanoseconds: .max / 2) + .milliseconds(Int64(grant.leaseMilliseconds))
        case .keys(let list):
            for stamp in list.stamps {
                precondition(Self.layout.shard(of: stamp.key) == list.shard)
                precondition(Self.layout.bucket(of: stamp.key) == list.bucket)
            }
        default: break
        }
    }

    private func check(_ record: Record) {
        let specification = record.specification
        precondition(record.isConsistent)
        precondition(
            record.key
                == JobKeys.key(
                    batch: specification.batch, source: specification.source, pages: specification.pages))
    }

    private func readSource(_ bytes: [UInt8]) throws {
        let question = try SourceCodec.decode(Ocr_V1_ReadSourceRequest(serializedBytes: bytes))
        precondition((try? SourceCodec.decode(SourceCodec.encode(question))) == question, "another after encoding")
    }

    private func spoolEntry(_ bytes: [UInt8]) throws {
        let question = try SourceCodec.decode(Ocr_V1_SpoolEntry(serializedBytes: bytes))
        precondition((try? SourceCodec.decode(SourceCodec.encode(question))) == question, "another after encoding")
    }

    // MARK: What mutations begin with

    /// Valid bytes for this decoder.
    package func sample(using generator: inout SeededGenerator) -> [UInt8] {
        switch self {
        case .datagram:
            let packet = generator.packet()
            var sealer = GossipSealer(keyring: Keyring(.sample(1)), cluster: Self.cluster, identity: packet.sender)
            return sealer.seal(packet)
        case .packet: return bytes(GossipCodec.message(generator.packet(), cluster: Self.cluster))
        case .exchangeRequest: return bytes(GossipCodec.encode(generator.state(memberCount: 2)))
        case .exchangeResponse:
            let replies: [ExchangeReply] = [
                .state(generator.state()), .refused(.yourself), .refused(.unavailable),
                .refused(.mismatch(.name(ours: generator.label(), theirs: "x"))),
                .refused(.mismatch(.shards(ours: 1, theirs: 1_024))),
                .refused(.mismatch(.protocolVersions(ours: 1...2, theirs: 3...4))),
            ]
            return bytes(GossipCodec.encode(replies[Int.random(in: 0..<replies.count, using: &generator)]))
        case .probeRequest:
            return bytes(GossipCodec.probeRequest(packet: generator.packet(), cluster: Self.cluster))
        case .probeResponse:
            return bytes(GossipCodec.probeResponse(packet: generator.packet(), cluster: Self.cluster))
        case .keyringRequest:
            var request = Ocr_V1_KeyringRequest()
            switch Int.random(in: 0..<3, using: &generator) {
            case 0: request.add = .init(ClusterKey.sample(3).bytes)
            case 1: request.use = ClusterKey.sample(2).digest
            default: request.remove = ClusterKey.sample(2).digest
            }
            return bytes(request)
        case .keyringResponse:
            var response = Ocr_V1_KeyringResponse()
            response.keys = [ClusterKey.sample(1).digest]
            response.refusal = generator.label()
            return bytes(response)
        case .reportResponse:
            var response = Ocr_V1_ReportResponse()
            response.node.id = generator.node().description
            response.node.name = generator.label()
            response.node.workers = generator.number()
            response.batches = [Ocr_V1_BatchStatus()]
            response.work = Ocr_V1_WorkStatus()
            return bytes(response)
        case .coordination:
            return bytes(CoordinationCodec.encode(generator.coordinationMessage(Self.layout)))
        case .readSource: return bytes(SourceCodec.encode(generator.sourceQuestion()))
        case .spoolEntry: return bytes(SourceCodec.encode(generator.spoolQuestion()))
        case .clusterKey: return Array(ClusterKey.sample(1).text.utf8)
        case .keyring: return Array((ClusterKey.sample(1).text + "\n" + ClusterKey.sample(2).text + "\n").utf8)
        }
    }

    private func bytes(_ message: some Message) -> [UInt8] {
        do {
            return try message.serializedBytes()
        } catch {
            preconditionFailure("a sample cannot be encoded: \(error)")
        }
    }
}
