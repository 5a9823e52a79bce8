// The order of all that happens in a world: by time, and at one time by the order in which it was planned.

internal import ClusterModel

/// A binary heap of small keys; what happens lies beside it, so that sifting moves 24 bytes.
struct EventQueue<Event> {
    private struct Key {
        let nanoseconds: Int64
        let sequence: UInt64
        let slot: Int

        func precedes(_ other: Key) -> Bool {
            nanoseconds != other.nanoseconds ? nanoseconds < other.nanoseconds : sequence < other.sequence
        }
    }

    private var heap: [Key] = []
    private var events: [Event?] = []
    private var free: [Int] = []
    private var nextSequence: UInt64 = 0

    var count: Int { heap.count }

    /// The time of the next event; nil when there is none.
    var next: Instant? { heap.first.map { Instant(nanoseconds: $0.nanoseconds) } }

    mutating func insert(_ event: Event, at time: Instant) {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            events[slot] = event
        } else {
            slot = events.count
            events.append(event)
        }
        heap.append(Key(nanoseconds: time.nanoseconds, sequence: nextSequence, slot: slot))
        nextSequence += 1
        siftUp()
    }

    mutating func removeFirst() -> (time: Instant, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty { siftDown(last) }
        guard let event = events[first.slot].take() else {
            preconditionFailure("a key of the queue has no event")
        }
        free.append(first.slot)
        return (Instant(nanoseconds: first.nanoseconds), event)
    }

    private mutating func siftUp() {
        var position = heap.count - 1
        let key = heap[position]
        while position > 0 {
            let parent = (position - 1) / 2
            guard key.precedes(heap[parent]) else { break }
            heap[position] = heap[parent]
            position = parent
        }
        heap[position] = key
    }

    /// Puts `key` in the place of the first and lets it sink.
    private mutating func siftDown(_ key: Key) {
        var position = 0
        while true {
            var child = 2 * position + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].precedes(heap[child]) { child += 1 }
            guard heap[child].precedes(key) else { break }
            heap[position] = heap[child]
            position = child
        }
        heap[position] = key
    }
}
