// How long jobs take: what `tesseract` needed for each image of a corpus of real pages.

internal import ClusterModel

/// Durations and languages of jobs, as a draw from measured ones.
package struct JobMix: Sendable {
    /// Tenths of CPU seconds by language: the column `cpu_seconds` of the manifest of a corpus of 78 scanned pages (books,
    /// newspapers, typescript, forms; Tesseract 5.3, one core of a virtual machine). The slowest is a newspaper page.
    private static let measured: [(language: String, tenths: [Int64])] = [
        ("ara", [32]),
        ("deu", [1, 10, 38, 125]),
        (
            "eng",
            [
                1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 7, 8, 10,
                11, 13, 14, 14, 21, 21, 25, 28, 29, 36, 36, 39, 40, 40, 200,
            ]
        ),
        ("eng+deu+fra+ita+spa+por", [12]),
        ("fra", [3, 3, 9, 16, 16, 18, 21, 23]),
        ("frk", [5, 8, 8, 10, 10, 11, 11, 13, 14, 14, 14, 14, 20, 23, 38, 46, 62]),
        ("heb", [2, 10]),
        ("hin", [6]),
        ("ita", [20]),
        ("lat", [3, 18]),
        ("nld", [11]),
        ("spa", [2, 8, 9, 19, 24, 31]),
    ]

    /// Mean size of a result of that corpus: its text, and what is stored beside it.
    static let resultByteCount = 1_363 + 250

    private let jobs: [(language: String, nanoseconds: Int64)]
    private let seed: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        jobs = Self.measured.flatMap { language, tenths in tenths.map { (language, $0 * 100_000_000) } }
    }

    /// The longest of all jobs at speed 1.
    package var longest: Duration { .nanoseconds(jobs.map(\.nanoseconds).max() ?? 0) }

    private func draw(_ job: Int) -> (language: String, nanoseconds: Int64) {
        var generator = SeededGenerator(seed: seed ^ UInt64(job) &* 0x9E6C_63D0_876A_68EE)
        return jobs[Int(generator.next() % UInt64(jobs.count))]
    }

    /// What a job takes in a slot of speed 1: the same in every run of it.
    func nanoseconds(_ job: Int) -> Int64 { draw(job).nanoseconds }

    /// The key of a job; its number is in the low half.
    func key(_ job: Int) -> JobKey {
        var generator = SeededGenerator(seed: seed &+ UInt64(job))
        return JobKey(Bits128(high: generator.next(), low: UInt64(job)))
    }

    static func job(_ key: JobKey) -> Int { Int(key.bits.low) }

    /// A job as a client submits it. The source is short, so that millions of them fit the memory of one machine.
    func submission(_ job: Int, batch: BatchID, origin: NodeID) -> Submission {
        Submission(
            key: key(job),
            specification: JobSpecification(
                batch: batch, source: SourceReference(path: "/\(job)"), language: draw(job).language, origin: origin))
    }
}
