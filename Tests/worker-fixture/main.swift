// A worker whose recogniser does as the request's language says: well, badly, or as an intruder would. With the
// argument `parent` it is a node instead, which is there to be killed.

import ClusterModel
import Glibc
import WorkerPool

let arguments = CommandLine.arguments
switch arguments.count > 1 ? arguments[1] : "" {
case "worker": WorkerProcess.run { FixtureRecogniser(hello: $0) }
case "parent": runParent(tessdata: arguments[2])
case "cannot-start":
    let line = Array("error while loading shared libraries: libfixture.so.5\n".utf8)
    _ = write(2, line, line.count)
    exit(127)
default: exit(64)
}

/// Starts two workers, gives each a job that never ends, prints their pids, and waits to be killed.
func runParent(tessdata: String) -> Never {
    var configuration = WorkerPoolConfiguration(slots: 2, tessdata: tessdata)
    configuration.hardDeadline = .seconds(600)
    let pool = WorkerPool(
        configuration,
        openSource: { _ in
            let descriptor = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
            return .success(OpenedSource(descriptor: descriptor))
        },
        validate: { _ in true }, onOutcome: { _, _, _, _ in },
        onEvent: { event in
            guard case .started(_, let pid, _) = event else { return }
            let line = Array("\(pid)\n".utf8)
            _ = write(1, line, line.count)
        })
    pool.start()
    for slot in 0..<2 {
        let specification = JobSpecification(
            batch: BatchID(name: "b"), source: SourceReference(path: "/x"), language: "hang")
        pool.assign(
            Assignment(
                key: JobKey(Bits128(high: 1, low: UInt64(slot))), epoch: 0, attempt: 1, specification: specification,
                profile: .standard), to: SlotIndex(slot))
    }
    while true { pause() }
}
