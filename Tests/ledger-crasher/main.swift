// Runs transactions of a workload on a ledger and dies where it is told to: the victim of the crash tests.
//
// Usage: ledger-crasher DIRECTORY SEED FIRST POINT COUNT MICROSECONDS
// Runs transactions FIRST, FIRST + 1, … and writes "N\n" once transaction N is committed. At the COUNT-th POINT (a
// `CommitPoint`; "never" waits for the parent's signal) it kills itself: at once, or after MICROSECONDS from another
// thread, so that the signal lands inside of the commit or checkpoint.
//
// "limit" instead of a point forbids the process to write files beyond COUNT KiB, so that writing fails with EFBIG. What
// failed is rolled back and reported as "!KIND\n"; then the limit is lifted and 30 more transactions are made.
//
// "hold" instead of a point opens the ledger, writes "0\n" and waits for the end of its input.

import ClusterModel
import Glibc
import Ledger
import LedgerWorkload

func say(_ text: String) {
    let line = Array("\(text)\n".utf8)
    _ = write(STDOUT_FILENO, line, line.count)
}

func dieAfter(microseconds: Int) {
    guard microseconds > 0 else {
        kill(getpid(), SIGKILL)
        return
    }
    var thread = pthread_t()
    let argument = UnsafeMutableRawPointer(bitPattern: microseconds)
    pthread_create(
        &thread, nil,
        { argument in
            usleep(UInt32(clamping: Int(bitPattern: argument)))
            kill(getpid(), SIGKILL)
            return nil
        }, argument)
}

let arguments = CommandLine.arguments
guard arguments.count == 7, let seed = UInt64(arguments[2]), let first = Int(arguments[3]),
    var pointsLeft = Int(arguments[5]), let microseconds = Int(arguments[6])
else {
    print("usage: ledger-crasher DIRECTORY SEED FIRST POINT COUNT MICROSECONDS")
    exit(64)
}
var options = LedgerOptions()
options.checkpointPageCount = 60
do {
    let ledger = try SQLiteLedger(directory: arguments[1], identity: Workload.node, options: options)
    if arguments[4] == "hold" {
        say("0")
        var byte: UInt8 = 0
        while read(STDIN_FILENO, &byte, 1) > 0 {}
        exit(0)
    }
    if let target = CommitPoint(rawValue: arguments[4]) {
        ledger.commitHook = { point in
            guard point == target else { return }
            pointsLeft -= 1
            if pointsLeft == 0 { dieAfter(microseconds: microseconds) }
        }
    }
    let workload = Workload(seed: seed)
    var limit = rlimit()
    var transactionsLeft = Int.max
    if arguments[4] == "limit" {
        signal(SIGXFSZ, SIG_IGN)
        getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
        var low = rlimit(rlim_cur: rlim_t(pointsLeft * 1_024), rlim_max: limit.rlim_max)
        setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &low)
    }
    var number = first
    while transactionsLeft > 0 {
        do {
            try ledger.begin()
            for operation in number == 0 ? Workload.preparation : workload.transaction(number) {
                _ = try operation.apply(to: ledger)
            }
            try ledger.commit()
            say("\(number)")
        } catch let error as LedgerError where arguments[4] == "limit" && transactionsLeft == .max {
            ledger.rollback()
            guard try Observation(ledger).contradictions == [] else { exit(2) }
            say("!\(error.kind)")
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            transactionsLeft = 30
        }
        number += 1
        if transactionsLeft < .max { transactionsLeft -= 1 }
    }
} catch {
    _ = write(STDERR_FILENO, "\(error)\n", "\(error)\n".utf8.count)
    exit(1)
}
