// A count that several tasks add to.

import Synchronization

final class Tally: Sendable {
    private let count = Mutex<UInt64>(0)

    var value: UInt64 { count.withLock { $0 } }

    func add(_ more: UInt64) { count.withLock { $0 += more } }
}
