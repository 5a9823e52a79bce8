// Jobs with an instant worker: the node's step loop, core and SQLite ledger, without recognition.
//
// Prints one JSON document; `Benchmarks/run.sh` compares it with a PostgreSQL queue in the same run.

import ArgumentParser
internal import ClusterModel
internal import Coordination
import Foundation
internal import Ledger
internal import NodeRuntime
internal import Wire

/// Ends each assignment at once with a result of the wanted size.
struct InstantExecutor: JobExecutor {
    let loop: StepLoop
    let body: [UInt8]

    func assign(_ assignment: Assignment, to slot: SlotIndex) {
        // Another digest for each job, as real results have.
        let digest = Bits128(high: assignment.key.bits.low, low: assignment.key.bits.high)
        loop.post(.finished(slot, assignment, .recognised(StoredResult(digest: digest, body: body))))
    }

    // Nothing is running by the time that anybody asks.
    func recall(from slot: SlotIndex) {}
    func interrupt(_ slot: SlotIndex) {}
}

struct Figures: Encodable {
    var jobsPerSecond: Double
    var submitPerSecond: Double
    var statusMilliseconds: Double
    var databaseBytes: Int
    var rssBytes: Int
}

@main
struct BenchEngine: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-engine", abstract: "Measure claims and results with an instant worker.")

    @Option(help: "Jobs to work off.") var jobs = 50_000
    @Option(help: "Jobs to submit first.") var pending = 10_000
    @Option(help: "Bytes of each result.") var resultBytes = 3_000
    @Option(help: "An empty directory for the ledger.") var dataDir: String
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        try FileManager.default.createDirectory(atPath: dataDir, withIntermediateDirectories: true)
        let loop = StepLoop(
            send: { _, _ in }, onEvent: { _ in },
            onFailing: { if let error = $0 { FileHandle.standardError.write(Data("\(error)\n".utf8)) } },
            onFailure: { FileHandle.standardError.write(Data("\($0)\n".utf8)) })
        let directory = dataDir
        let body = [UInt8]((0..<resultBytes).map { UInt8(truncatingIfNeeded: 32 + ($0 &* 31) % 90) })
        try await loop.start { () throws(LedgerError) in
            let ledger = try SQLiteLedger(directory: directory, layout: .standard)
            let configuration = CoordinatorConfiguration(node: ledger.nodeID, slotCount: 2, seed: 1)
            return StepLoop.Parts(
                ledger: ledger,
                coordinator: Coordinator(configuration: configuration),
                executor: InstantExecutor(loop: loop, body: body),
                close: { () throws(LedgerError) in try ledger.close() })
        }
        _ = try await loop.ask { .pause($0) }
        let draft = BatchDraft(name: "bench", profile: .standard, language: "eng", createdSeconds: 0)
        guard case .batch(.opened(let batch, _)) = try await loop.ask({ .openBatch($0, draft) }) else {
            throw ExitCode(1)
        }

        let submitted = try await seconds { try await submit(to: batch.id, loop) }
        let reader = try LedgerReader(directory: directory)
        _ = try reader.totals()
        let status = try await seconds { _ = try reader.totals() }

        let wanted = min(jobs, pending)
        let worked = try await seconds {
            _ = try await loop.ask { .resume($0) }
            while (loop.snapshot?.counters.done ?? 0) < wanted { try await Task.sleep(for: .milliseconds(2)) }
        }
        let done = loop.snapshot?.counters.done ?? 0
        let size = ["", "-wal"].reduce(0) { sum, suffix in
            let path = directory + "/ledger.sqlite" + suffix
            let facts = try? FileManager.default.attributesOfItem(atPath: path)
            return sum + ((facts?[.size] as? Int) ?? 0)
        }
        let figures = Figures(
            jobsPerSecond: Double(done) / worked, submitPerSecond: Double(pending) / submitted,
            statusMilliseconds: status * 1_000, databaseBytes: size, rssBytes: ProcessFacts.residentBytes() ?? 0)
        _ = try await loop.ask { .pause($0) }
        await loop.stop()
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        print(String(decoding: try encoder.encode(figures), as: UTF8.self))
    }

    private func submit(to batch: BatchID, _ loop: StepLoop) async throws {
        var next = 0
        while next < pending {
            let count = min(Limits.submissionChunkCount, pending - next)
            let entries = (next..<(next + count)).map { number in
                let source = SourceReference(path: "/scans/volume-\(number / 1_000)/page-\(number).tif")
                return Submission(
                    key: JobKeys.key(batch: batch, source: source, pages: .all),
                    specification: JobSpecification(
                        batch: batch, source: source, language: "eng",
                        fingerprint: SourceFingerprint(byteCount: 450_000, modifiedNanoseconds: Int64(number))))
            }
            _ = try await loop.ask { .submit($0, entries) }
            next += count
        }
    }

    private func seconds(_ work: () async throws -> Void) async throws -> Double {
        let started = ContinuousClock.now
        try await work()
        return (ContinuousClock.now - started).inSeconds
    }
}
