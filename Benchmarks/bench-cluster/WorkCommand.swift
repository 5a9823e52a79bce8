// Gives a cluster jobs and measures how long it takes, through the admin interface of one of its nodes.

import ArgumentParser
internal import ClusterModel
import Foundation
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import Wire

struct WorkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "work", abstract: "Submit jobs to a paused cluster, let it go, and wait. Prints JSON.")

    @Option(help: "The data directory of the node to talk to.") var dataDir: String
    @Option(help: "A name for the batch.") var batch = "bench"
    @Option(help: "Jobs.") var jobs = 10_000
    @Flag(help: "Only submit, to a cluster that works; waits for nothing.") var submitOnly = false

    struct Figures: Encodable {
        var jobs: Int
        var copies: UInt32
        var submitSeconds: Double
        /// From the order to resume until the answering node knows that nothing is left to do; and until `wait` ends.
        var doneSeconds: Double?
        var durableSeconds: Double?
    }

    func run() async throws {
        let service = MethodConfig(
            names: [MethodConfig.Name(service: Ocr_V1_Admin.descriptor.fullyQualifiedService)], waitForReady: true)
        let transport = try HTTP2ClientTransport.Posix(
            target: .unixDomainSocket(path: dataDir + "/node.sock"), transportSecurity: .plaintext,
            config: .defaults { $0.http2.targetWindowSize = 1 << 20 },
            serviceConfig: ServiceConfig(methodConfig: [service]))
        let figures = try await withGRPCClient(transport: transport) { client in
            try await measure(Ocr_V1_Admin.Client(wrapping: client))
        }
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        print(String(decoding: try encoder.encode(figures), as: UTF8.self))
    }

    private func measure(_ admin: Ocr_V1_Admin.Client<HTTP2ClientTransport.Posix>) async throws -> Figures {
        var everybody = Ocr_V1_PauseRequest()
        everybody.cluster = true
        if !submitOnly {
            _ = try await admin.pause(everybody)
            // Nothing may run before the clock does.
            while try await admin.status(.init()).nodes.contains(where: { !$0.paused }) {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        var began = ContinuousClock.now
        let copies = try await submit(admin)
        var figures = Figures(jobs: jobs, copies: copies, submitSeconds: (ContinuousClock.now - began).inSeconds)
        if submitOnly { return figures }
        began = .now
        _ = try await admin.resume(everybody)
        var request = Ocr_V1_WaitRequest()
        request.batch = batch
        let start = began
        figures.doneSeconds = try await admin.wait(request) { response in
            var done: Double?
            for try await progress in response.messages {
                if done == nil, progress.unknownShards == 0, progress.pending + progress.running == 0 {
                    done = (ContinuousClock.now - start).inSeconds
                }
                if progress.finished, progress.done != UInt64(jobs) {
                    throw ValidationError("\(progress.done) of \(jobs) jobs are done, \(progress.failed) failed")
                }
            }
            return done
        }
        figures.durableSeconds = (ContinuousClock.now - start).inSeconds
        return figures
    }

    /// Submits paths that nobody opens. Returns the fewest copies that a chunk has.
    private func submit(_ admin: Ocr_V1_Admin.Client<HTTP2ClientTransport.Posix>) async throws -> UInt32 {
        let (batch, jobs) = (batch, jobs)
        return try await admin.submit { writer in
            var message = Ocr_V1_SubmitMessage()
            message.header.batch = batch
            message.header.language = "eng"
            try await writer.write(message)
            for start in stride(from: 0, to: jobs, by: Limits.submissionChunkCount) {
                message.chunk.entries = (start..<min(jobs, start + Limits.submissionChunkCount)).map { number in
                    var entry = Ocr_V1_SubmitEntry()
                    entry.source = Data("/scans/volume-\(number / 1_000)/page-\(number).tif".utf8)
                    entry.byteCount = 450_000
                    entry.modifiedNanoseconds = Int64(number)
                    return entry
                }
                try await writer.write(message)
            }
        } onResponse: { response in
            var copies = UInt32.max
            var accepted: UInt64 = 0
            for try await progress in response.messages where progress.chunk > 0 {
                copies = min(copies, progress.copies)
                accepted += progress.newCount
            }
            guard accepted == UInt64(jobs) else { throw ValidationError("\(accepted) of \(jobs) jobs were taken") }
            return copies
        }
    }
}
