// Which of many images are recognised to learn about all of them.

internal import ClusterModel

/// A uniform sample of a stream whose length nobody knows beforehand (reservoir sampling, Vitter 1985, algorithm R). The
/// same stream gives the same sample.
package struct PlanSample<Element>: Sendable where Element: Sendable {
    /// Of the whole stream.
    package private(set) var count = 0
    /// The sample, each with its place in the stream; in no order.
    private var kept: [(place: Int, element: Element)] = []
    private let limit: Int
    private var generator: SeededGenerator

    /// - Parameter limit: elements that are kept, 1 or more.
    package init(limit: Int, seed: UInt64 = 1) {
        self.limit = max(1, limit)
        generator = SeededGenerator(seed: seed)
    }

    package mutating func add(_ element: Element) {
        if kept.count < limit {
            kept.append((count, element))
        } else {
            let place = Int.random(in: 0...count, using: &generator)
            if place < limit { kept[place] = (count, element) }
        }
        count += 1
    }

    /// The sample in the order of the stream.
    package var elements: [Element] { kept.sorted { $0.place < $1.place }.map(\.element) }
}
