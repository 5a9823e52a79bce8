// Measures the ledger: submission, claiming and finishing with a short and a long queue, reading the totals.
//
// Usage: ledger-bench DIRECTORY [JOBS]. The directory must not exist; it is left for a look at its files.

import ClusterModel
import Glibc
import Ledger

let arguments = CommandLine.arguments
guard arguments.count >= 2 else {
    print("usage: ledger-bench DIRECTORY [JOBS]")
    exit(64)
}
let directory = arguments[1]
let jobCount = arguments.count > 2 ? Int(arguments[2]) ?? 1_000_000 : 1_000_000
let batch = BatchID(name: "bench")
let body = (0..<3_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

/// Writes a line at once, whatever standard output is.
func report(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}

func now(_ clock: clockid_t = CLOCK_MONOTONIC) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func residentMegabytes() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss / 1_024
}

func fileMegabytes(_ name: String) -> Int {
    var information = stat()
    return stat(directory + "/" + name, &information) == 0 ? information.st_size >> 20 : 0
}

func record(_ number: Int) -> Record {
    var random = SeededGenerator(seed: UInt64(number))
    return Record(
        key: JobKey(Bits128(high: random.next(), low: random.next())),
        specification: JobSpecification(
            batch: batch, source: SourceReference(path: "/archive/scans/1923/box-\(number / 1_000)/page-\(number).png"),
            language: "deu", fingerprint: SourceFingerprint(byteCount: 48_000, modifiedNanoseconds: Int64(number))))
}

func submit(_ ledger: SQLiteLedger, _ range: Range<Int>) throws {
    var next = range.lowerBound
    while next < range.upperBound {
        try ledger.begin()
        for number in next..<min(next + 1_000, range.upperBound) {
            _ = try ledger.merge(record(number), result: nil)
        }
        try ledger.commit()
        next += 1_000
    }
}

/// Claims jobs from the queue's front and finishes those of the transaction before: 250 of each per transaction.
func work(_ ledger: SQLiteLedger, jobs: Int) throws {
    var running: [Record] = []
    var finished = 0
    var digest: UInt64 = 0
    var position: QueuePosition?
    while finished < jobs {
        try ledger.begin()
        for job in running {
            var done = job
            digest += 1
            done.outcome = .done
            let stored = StoredResult(digest: Bits128(high: digest, low: 1), body: body)
            done.resultDigest = stored.digest
            _ = try ledger.merge(done, result: stored)
        }
        finished += running.count
        let queued = try ledger.pending(after: position, limit: 250)
        running = []
        for job in queued {
            var claimed = job.record
            claimed.attempts += 1
            running.append(try ledger.merge(claimed, result: nil).new)
            position = job.position
        }
        try ledger.commit()
        if queued.isEmpty && running.isEmpty { break }
    }
}

func measure(_ name: String, count: Int, _ body: () throws -> Void) rethrows -> Double {
    let (start, cpu) = (now(), now(CLOCK_PROCESS_CPUTIME_ID))
    try body()
    let (elapsed, used) = (now() - start, now(CLOCK_PROCESS_CPUTIME_ID) - cpu)
    let rate = Double(count) / elapsed
    report(
        "\(name): \(Int(rate)) jobs/s, \(Int(used / Double(count) * 1e7) / 10) µs CPU/job, \(Int(elapsed * 10) / 10) s,"
            + " peak RSS \(residentMegabytes()) MB, database \(fileMegabytes("ledger.sqlite")) MB,"
            + " log \(fileMegabytes("ledger.sqlite-wal")) MB")
    return rate
}

let ledger = try SQLiteLedger(directory: directory)
try ledger.begin()
_ = try ledger.merge(
    Batch(id: batch, profile: .standard, language: "deu", version: 1, writer: ledger.nodeID, createdSeconds: 0))
try ledger.commit()

/// Median of several tries, in milliseconds.
func milliseconds(_ body: () throws -> Void) rethrows -> Double {
    var times: [Double] = []
    for _ in 0..<11 {
        let start = now()
        try body()
        times.append(now() - start)
    }
    return Double(Int(times.sorted()[5] * 1e5)) / 100
}

let shortCount = 110_000
_ = try measure("submit \(shortCount)", count: shortCount) { try submit(ledger, 0..<shortCount) }
let short = try measure("claim and finish 100,000 of \(shortCount)", count: 100_000) {
    try work(ledger, jobs: 100_000)
}
let total = shortCount + jobCount
_ = try measure("submit \(jobCount) more", count: jobCount) { try submit(ledger, shortCount..<total) }
let reader = try LedgerReader(directory: directory)
report("totals() at \(total): \(try milliseconds { _ = try reader.totals() }) ms")
let long = try measure("claim and finish 100,000 of \(jobCount)", count: 100_000) { try work(ledger, jobs: 100_000) }
report("ratio long queue / short queue: \(Double(Int(long / short * 100)) / 100)")
_ = try measure("sort \(total) for an export", count: total) {
    let order = try reader.makeExportOrder(batch)
    _ = try order.next(limit: 500)
}
_ = try measure("close", count: 1) { try ledger.close() }
