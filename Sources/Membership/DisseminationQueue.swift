// What is still to be told, the least often sent first (SWIM §4.1); among equals the newest first.
//
// One item for each node id: a newer one replaces the older. An item leaves after `limit` sends. Items lie in tiers by
// the number of times they were sent; an entry whose ticket is no longer that of its id is stale and is dropped when it
// is met, so that replacing costs nothing.

internal import ClusterModel

struct DisseminationQueue<Item: Sendable>: Sendable {
    private struct Entry: Sendable {
        let id: NodeID
        let ticket: UInt64
        let item: Item
    }

    private var tiers: [[Entry]] = []
    private var tickets: [NodeID: UInt64] = [:]
    private var nextTicket: UInt64 = 0

    var isEmpty: Bool { tickets.isEmpty }
    var count: Int { tickets.count }

    mutating func insert(_ item: Item, about id: NodeID) {
        nextTicket += 1
        tickets[id] = nextTicket
        append(Entry(id: id, ticket: nextTicket, item: item), sends: 0)
    }

    mutating func remove(about id: NodeID) { tickets[id] = nil }

    /// Whether something about that node is still to be told.
    func contains(_ id: NodeID) -> Bool { tickets[id] != nil }

    /// Takes items in order as long as `fits` says that there is room (an item that does not fit is passed over), and
    /// counts each as sent once.
    ///
    /// - Parameters:
    ///   - limit: sends after which an item leaves the queue; at least 1.
    ///   - hasRoom: asked before each item; the search ends when it says no, so that a full packet is not offered the
    ///     whole queue.
    mutating func take(
        count: Int, limit: Int, excluding excluded: NodeID? = nil, while hasRoom: () -> Bool = { true },
        where fits: (Item) -> Bool
    ) -> [Item] {
        var taken: [Item] = []
        var sent: [(Entry, Int)] = []
        for sends in tiers.indices {
            var position = tiers[sends].count - 1
            while position >= 0, taken.count < count, hasRoom() {
                let entry = tiers[sends][position]
                if tickets[entry.id] != entry.ticket {
                    tiers[sends].remove(at: position)
                } else if entry.id != excluded, fits(entry.item) {
                    tiers[sends].remove(at: position)
                    taken.append(entry.item)
                    sent.append((entry, sends + 1))
                }
                position -= 1
            }
            if taken.count >= count || !hasRoom() { break }
        }
        for (entry, sends) in sent {
            if sends >= limit { tickets[entry.id] = nil } else { append(entry, sends: sends) }
        }
        return taken
    }

    private mutating func append(_ entry: Entry, sends: Int) {
        while tiers.count <= sends { tiers.append([]) }
        // Stale entries would pile up in a tier that is never searched to its end.
        if tiers[sends].count > 64, tiers[sends].count > 2 * tickets.count {
            tiers[sends].removeAll { tickets[$0.id] != $0.ticket }
        }
        tiers[sends].append(entry)
    }
}
