// One seed in several processes: what depends on the process (the order of a `Dictionary` or `Set`, a `Hasher`, an
// address) would give another trace in each.

import Foundation
import Simulator
import Testing

@Suite struct ProcessTests {
    /// The product beside the test bundle.
    private static let binary: String = {
        let bundle = Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        return URL(filePath: bundle).deletingLastPathComponent().appending(path: "simulate").path
    }()

    private func simulate(_ arguments: String...) throws -> String {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(filePath: Self.binary)
        process.arguments = arguments
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `the same seed gives the same trace in every process`() throws {
        let seeds: ClosedRange<UInt64> = 11...13
        let runs = try (0..<2).map { _ in
            try simulate("plans", "--seed", "\(seeds.lowerBound)", "--seeds", "\(seeds.count)", "--verbose")
        }
        #expect(runs[0] == runs[1])
        for seed in seeds {
            let hash = FaultPlan(seed: seed).run().hash
            #expect(runs[0].contains("seed \(seed), trace hash \(hash)\n"), "this process has another trace")
        }
    }
}
