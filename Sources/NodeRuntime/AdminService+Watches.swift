// `node submit --watch`, `node watch ls` and `node watch stop`; and what watches submit (docs/watch.md).

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
internal import ObjectStorage
internal import Submission
package import Wire

extension AdminService {
    package func startWatches(
        request: Ocr_V1_StartWatchesRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_WatchesResponse {
        guard (1...Limits.watchesPerBatchCount).contains(request.sources.count) else {
            throw AdminError.badUsage("1 to \(Limits.watchesPerBatchCount) places can be watched at once")
        }
        var header = request.header
        guard !header.dryRun else { throw AdminError.badUsage("a watch has no dry run") }
        let rules = request.languageRules.map { Array($0) }
        do throws(SubmissionError) {
            header.ruleLanguages = try LanguageRules(rules).languages
        } catch {
            throw AdminError.badUsage(error.description)
        }
        var drafts: [Watch] = []
        for bytes in request.sources {
            let source = SourceReference(bytes: Array(bytes))
            let draft = Watch(
                id: WatchID(Bits128(high: 0, low: 0)), batch: BatchID(name: ""), source: source, language: "-",
                languageRules: rules, priority: Int(header.priority),
                intervalSeconds: request.intervalSeconds == 0
                    ? Limits.watchIntervalDefaultSeconds : request.intervalSeconds,
                queueURL: request.queueURL, origin: facts.id, folder: try await place(source, request.queueURL),
                writer: facts.id, createdSeconds: Int64(Date().timeIntervalSince1970))
            if let complaint = draft.complaint { throw AdminError.refused("watch-refused", complaint) }
            drafts.append(draft)
        }
        let batch = try await open(header)
        let watches = drafts.map { $0.placed(in: batch, by: facts.id) }
        switch try await reply({ .startWatches($0, watches) }) {
        case .watches(let started): return try await details(of: started.map(\.id))
        case .refused(let reason): throw AdminError.refused("watch-refused", reason)
        default: throw AdminError(code: "internal", message: "the node gave no answer to the watch")
        }
    }

    /// The folder that a source names, nil of a prefix. What cannot be watched is refused before anything is changed.
    private func place(_ source: SourceReference, _ queue: String) async throws -> FolderIdentity? {
        guard source.isPath else {
            try await checkPrefix(source, queue)
            return nil
        }
        guard queue.isEmpty else {
            throw AdminError.badUsage("a queue tells of an s3:// prefix, not of \(source.text)")
        }
        do {
            return try await reads.run { try FolderFacts.identity(of: source.bytes) }
        } catch let error as SubmissionError {
            throw AdminError.refused(
                "source-unwatchable", "\(source.text) \(error.message)",
                hint: "name a folder that the node's user can read")
        }
    }

    /// Asks for the first key: a wrong name, a wrong key or a store that is away is found now.
    private func checkPrefix(_ source: SourceReference, _ queue: String) async throws {
        guard let location = S3Location(source) else {
            throw AdminError.refused(
                "source-unwatchable", "\(source.text) cannot be watched",
                hint: "name a folder or an s3://bucket/prefix; a web server does not tell what is new")
        }
        do throws(StoreError) {
            if !queue.isEmpty { _ = try stores.queue(queue) }
            _ = try await stores.s3.page(location, limit: 1)
        } catch {
            throw AdminError.refused("source-unwatchable", error.text)
        }
    }

    package func watches(
        request: Ocr_V1_WatchesRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_WatchesResponse {
        let all = loop.snapshot?.watches ?? []
        guard request.hasBatch else { return try await details(of: all.map(\.id)) }
        let batch = try await batch(named: request.batch).id
        return try await details(of: all.filter { $0.batch == batch }.map(\.id))
    }

    package func stopWatches(
        request: Ocr_V1_StopWatchesRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_WatchesResponse {
        guard request.hasBatch != !request.ids.isEmpty, request.ids.count <= Limits.watchCount else {
            throw AdminError.badUsage("name ids of watches, or one batch")
        }
        let selection: WatchSelection
        if request.hasBatch {
            selection = .batch(try await batch(named: request.batch).id)
        } else {
            let known = loop.snapshot?.watches.map(\.id) ?? []
            selection = .ids(try request.ids.map { try Self.find($0, among: known) })
        }
        guard case .watches(let stopped) = try await reply({ .stopWatches($0, selection) }) else {
            throw AdminError(code: "internal", message: "the node gave no answer to the watch")
        }
        return try await details(of: stopped.map(\.id))
    }

    private static func find(_ text: String, among known: [WatchID]) throws -> WatchID {
        let wanted = text.lowercased()
        let found = known.filter { !wanted.isEmpty && $0.description.hasPrefix(wanted) }
        guard let id = found.first else {
            throw AdminError.notFound("there is no watch \(text)", hint: "see `node watch ls`")
        }
        guard found.count == 1 else {
            throw AdminError(
                code: "ambiguous", message: "\(found.count) watches begin with \(text)",
                hint: "give more digits of the id")
        }
        return id
    }

    // MARK: Showing

    /// Watches as they are now, with what the nodes say that run them.
    private func details(of ids: [WatchID]) async throws -> Ocr_V1_WatchesResponse {
        let survey = try await survey()
        let serving = loop.snapshot?.servingNodes ?? []
        let watches = Dictionary(uniqueKeysWithValues: (loop.snapshot?.watches ?? []).map { ($0.id, $0) })
        var response = Ocr_V1_WatchesResponse()
        response.watches = ids.compactMap { watches[$0] }.map { watch in
            var detail = Ocr_V1_WatchDetail()
            detail.id = watch.id.description
            detail.batch = watch.batch.name
            detail.source = Data(watch.source.bytes)
            detail.language = watch.language
            detail.languageRules = watch.languageRules.map { Data($0) }
            detail.priority = Int32(clamping: watch.priority)
            detail.intervalSeconds = watch.intervalSeconds
            detail.queueURL = watch.queueURL
            detail.origin = watch.origin == facts.id ? facts.name : survey.name(of: watch.origin)
            detail.running = watch.isRunning
            detail.createdSeconds = watch.createdSeconds
            if let runner = WatchPlacement.runner(of: watch, serving: serving) {
                detail.runner = runner == facts.id ? facts.name : survey.name(of: runner)
                let progress = survey.nodes[runner]?.watches.first { $0.id == detail.id }
                if let progress { detail.progress = progress }
            } else if watch.isRunning {
                detail.reason =
                    watch.source.isPath
                    ? "\(detail.origin) is away, and no other node sees this folder" : "no node serves"
            }
            return detail
        }
        return response
    }

    /// Running watches by batch.
    var watchCounts: [BatchID: Int] {
        (loop.snapshot?.watches ?? []).reduce(into: [:]) { counts, watch in
            if watch.isRunning { counts[watch.batch, default: 0] += 1 }
        }
    }

    // MARK: Submitting

    /// Submits what a watch has found, through this node.
    func submit(_ entries: [Ocr_V1_SubmitEntry], of watch: Watch) async -> WatchSubmission {
        var outcome = WatchSubmission()
        do {
            let reader = reader
            let batches = try await reads.run { try reader.batches() }
            guard var batch = batches.first(where: { $0.id == watch.batch }) else {
                outcome.error = "batch \(watch.batch.name) is not known here yet"
                return outcome
            }
            batch.language = watch.language
            var header = Ocr_V1_SubmitHeader()
            header.priority = Int32(clamping: watch.priority)
            var chunk = Ocr_V1_SubmitChunk()
            chunk.entries = entries
            let progress = try await admit(chunk, to: batch, header)
            outcome.new = Int(clamping: progress.newCount)
            outcome.changed = Int(clamping: progress.changedCount)
            outcome.known = Int(clamping: progress.knownCount)
            outcome.skipped = progress.rejected.count
            if let last = progress.rejected.last {
                outcome.skippedReason = "\(SourceReference(bytes: Array(last.source)).text): \(last.reason)"
            }
            if progress.unanswered > 0 {
                outcome.error = "nobody answered for \(progress.unanswered) files in time; they are submitted again"
            }
        } catch let error as AdminError {
            outcome.error = error.hint.isEmpty ? error.message : "\(error.message); \(error.hint)"
        } catch {
            outcome.error = "\(error)"
        }
        return outcome
    }
}

extension Watch {
    /// The watch of a draft, in its batch.
    fileprivate func placed(in batch: Batch, by node: NodeID) -> Watch {
        Watch(
            id: WatchKeys.id(batch: batch.id, source: source, origin: node), batch: batch.id, source: source,
            language: batch.language, languageRules: languageRules, priority: priority,
            intervalSeconds: intervalSeconds, queueURL: queueURL, origin: origin, folder: folder, writer: writer,
            createdSeconds: createdSeconds)
    }
}
