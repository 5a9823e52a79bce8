// Admission: a header, then chunks, each answered after its commit.

internal import ClusterModel
internal import Coordination
internal import Ledger
import Foundation
package import GRPCCore
package import Wire

extension AdminService {
    package func submit(
        request: GRPCCore.RPCAsyncSequence<Ocr_V1_SubmitMessage, any Swift.Error>,
        response: GRPCCore.RPCWriter<Ocr_V1_SubmitProgress>, context: GRPCCore.ServerContext
    ) async throws {
        var opened: (batch: Batch, header: Ocr_V1_SubmitHeader)?
        var chunkNumber: UInt64 = 0
        for try await message in request {
            switch message.kind {
            case .header(let header):
                guard opened == nil else { throw AdminError.badUsage("a submission has one header") }
                let batch = try await open(header)
                opened = (batch, header)
                var progress = Ocr_V1_SubmitProgress()
                progress.batch = batch.id.name
                progress.copies = 1
                progress.wantedCopies = 1
                try await response.write(progress)
            case .chunk(let chunk):
                guard let (batch, header) = opened else {
                    throw AdminError.badUsage("a submission begins with a header")
                }
                chunkNumber += 1
                if !header.dryRun { try await requireSameProfile(batch) }
                var progress = try await admit(chunk, to: batch, header)
                progress.chunk = chunkNumber
                progress.batch = batch.id.name
                try await response.write(progress)
            case nil:
                throw AdminError.badUsage("an empty submission message")
            }
        }
    }

    /// Another node may have made a batch of that name at the same time: one of the two stays.
    private func requireSameProfile(_ opened: Batch) async throws {
        let reader = reader
        let batches = try await reads.run { try reader.batches() }
        guard let now = batches.first(where: { $0.id == opened.id }), now.profile != opened.profile else { return }
        throw profileDiffers(opened.id.name)
    }

    private func profileDiffers(_ name: String) -> AdminError {
        AdminError.refused(
            "profile-differs", "the batch \(name) exists with other options (--psm, --dpi or --outputs)",
            hint: "submit with the same options, or to another --batch")
    }

    /// Checks what can be checked before anything is changed, and finds or makes the batch.
    func open(_ header: Ocr_V1_SubmitHeader) async throws -> Batch {
        let existing = header.batch.isEmpty ? nil : try await batches(named: nil).last { $0.id.name == header.batch }
        var profile = existing?.profile ?? facts.defaultProfile
        if header.profile.hasPageSegmentationMode {
            profile.pageSegmentationMode = Int(header.profile.pageSegmentationMode)
        }
        if header.profile.hasDpi { profile.dpi = Int(header.profile.dpi) }
        if !header.profile.outputs.isEmpty {
            let names = Set(header.profile.outputs)
            if let unknown = names.subtracting(Profile.Output.allCases.map(\.rawValue)).min() {
                throw AdminError.refused(
                    "output-unknown", "this version does not produce '\(unknown)'",
                    hint: "outputs: \(Profile.Output.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            // One order, each once and the text always: the same wishes are the same profile.
            profile.outputs = Profile.Output.allCases.filter { $0 == .text || names.contains($0.rawValue) }
        }
        guard (1...13).contains(profile.pageSegmentationMode), profile.pageSegmentationMode != 2 else {
            throw AdminError.refused(
                "psm", "page segmentation mode \(profile.pageSegmentationMode) does not recognise text",
                hint: "use 1 or 3...13")
        }
        if let dpi = profile.dpi, !(70...2_400).contains(dpi) {
            throw AdminError.refused("dpi", "\(dpi) dpi is out of range", hint: "use 70...2400")
        }
        let language = header.language.isEmpty ? existing?.language ?? facts.defaultLanguage : header.language
        for specification in [language] + header.ruleLanguages {
            if let complaint = languages.complaint(about: specification) {
                throw AdminError.refused("language-not-installed", complaint.message, hint: complaint.hint)
            }
        }
        let name = header.batch.isEmpty ? Self.freshName() : header.batch
        let draft = BatchDraft(
            name: name, profile: profile, language: language, createdSeconds: Int64(Date().timeIntervalSince1970))
        if header.dryRun {
            if let complaint = BatchName.complaint(about: name) { throw AdminError.refused("batch-name", complaint) }
            return existing
                ?? Batch(
                    id: BatchID(name: name), profile: profile, language: language, version: 0, writer: facts.id,
                    createdSeconds: draft.createdSeconds)
        }
        switch try await reply({ .openBatch($0, draft) }) {
        case .batch(.opened(var batch, _)):
            // Entries that name no language get that of this submission.
            batch.language = language
            return batch
        case .batch(.profileDiffers):
            throw profileDiffers(name)
        case .batch(.invalidName(let complaint)): throw AdminError.refused("batch-name", complaint)
        default: throw AdminError(code: "internal", message: "the node gave no answer to the batch")
        }
    }

    /// Date and a short hash of chance: "2026-11-24-3fa9c1".
    private static func freshName() -> String {
        let date = Date().formatted(.iso8601.year().month().day())
        return "\(date)-\(String(UInt32.random(in: 0...0xFF_FFFF) | 0x100_0000, radix: 16).dropFirst())"
    }

    /// Admits a chunk of a submission; answered after its commit.
    func admit(
        _ chunk: Ocr_V1_SubmitChunk, to batch: Batch, _ header: Ocr_V1_SubmitHeader
    ) async throws -> Ocr_V1_SubmitProgress {
        guard chunk.entries.count <= Limits.submissionChunkCount else {
            throw AdminError.badUsage("a chunk has at most \(Limits.submissionChunkCount) entries")
        }
        var progress = Ocr_V1_SubmitProgress()
        var submissions: [Submission] = []
        submissions.reserveCapacity(chunk.entries.count)
        var complaints: [String: String] = [:]
        for entry in chunk.entries {
            let source = SourceReference(bytes: Array(entry.source))
            func reject(_ reason: String) {
                var rejection = Ocr_V1_SubmitRejection()
                rejection.source = entry.source
                rejection.reason = reason
                progress.rejected.append(rejection)
            }
            guard source.isPath || source.remoteScheme != nil, source.bytes.count <= Limits.sourceByteCount,
                !source.bytes.contains(0)
            else {
                reject(
                    "not an absolute path or an s3://, http:// or https:// URL of at most "
                        + "\(Limits.sourceByteCount) bytes")
                continue
            }
            let language = entry.hasLanguage && !entry.language.isEmpty ? entry.language : batch.language
            if complaints[language] == nil {
                complaints[language] = languages.complaint(about: language).map { "\($0.message); \($0.hint)" } ?? ""
            }
            if let complaint = complaints[language], !complaint.isEmpty {
                reject(complaint)
                continue
            }
            let priority = entry.hasPriority ? Int(entry.priority) : Int(header.priority)
            guard Limits.priorityRange.contains(priority) else {
                reject("priority \(priority) is not within \(Limits.priorityRange)")
                continue
            }
            let fingerprint =
                entry.hasByteCount && entry.hasModifiedNanoseconds
                ? SourceFingerprint(
                    byteCount: entry.byteCount, modifiedNanoseconds: entry.modifiedNanoseconds,
                    tag: entry.hasTag ? Array(entry.tag) : nil) : nil
            submissions.append(
                Submission(
                    key: JobKeys.key(batch: batch.id, source: source, pages: .all),
                    specification: JobSpecification(
                        batch: batch.id, source: source, language: language, priority: priority,
                        fingerprint: fingerprint, origin: facts.id)))
        }
        let admission = header.dryRun ? try await preview(submissions) : try await admission(of: submissions)
        if let refusal = admission.refusal { throw AdminError(code: "batch-removed", message: refusal) }
        progress.newCount = UInt64(admission.new)
        progress.knownCount = UInt64(admission.known)
        progress.changedCount = UInt64(admission.changed)
        progress.unanswered = UInt64(admission.unanswered)
        progress.copies = header.dryRun ? 0 : UInt32(admission.copies)
        progress.wantedCopies = UInt32(admission.wantedCopies)
        return progress
    }

    private func admission(of submissions: [Submission]) async throws -> Admission {
        guard !submissions.isEmpty else { return Admission() }
        guard case .submitted(let admission) = try await reply({ .submit($0, submissions) }) else {
            throw AdminError(code: "internal", message: "the node gave no answer to the submission")
        }
        return admission
    }

    /// What an admission would count, from the ledgers as they are.
    private func preview(_ submissions: [Submission]) async throws -> Admission {
        let (found, missing) = try await details(of: submissions.map(\.key))
        var admission = Admission()
        for submission in submissions {
            guard let detail = found[submission.key] else {
                if missing.contains(facts.layout.shard(of: submission.key)) {
                    admission.unanswered += 1
                } else {
                    admission.new += 1
                }
                continue
            }
            let before = detail.fingerprint
            let after = submission.specification.fingerprint
            if let before, let after, after.isOther(than: before) {
                admission.changed += 1
            } else {
                admission.known += 1
            }
        }
        return admission
    }
}

extension Ocr_V1_JobDetail {
    /// The file as it was submitted, where that is known.
    var fingerprint: SourceFingerprint? {
        guard hasByteCount, hasModifiedNanoseconds else { return nil }
        return SourceFingerprint(
            byteCount: byteCount, modifiedNanoseconds: modifiedNanoseconds, tag: hasTag ? Array(tag) : nil)
    }
}
