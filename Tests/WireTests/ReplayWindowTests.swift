import ClusterModel
import WireDecoders
import Testing

@testable import Wire

@Suite struct ReplayWindowTests {
    /// The same by a set of all that was taken.
    private struct Model {
        var taken: Set<UInt64> = []
        var highest: UInt64?

        mutating func take(_ counter: UInt64) -> Bool {
            if let highest, highest >= 256, counter <= highest - 256 { return false }
            highest = max(highest ?? 0, counter)
            return taken.insert(counter).inserted
        }
    }

    /// Which of the counters were taken, in the order in which they are offered.
    private func taken(_ counters: [UInt64], by window: inout ReplayWindow) -> [Bool] {
        counters.map { window.take($0) }
    }

    @Test func `every counter is taken once in any order within the window`() {
        var generator = SeededGenerator(seed: 61)
        var window = ReplayWindow()
        let counters = [1_000] + Array(UInt64(1_001)...1_255).shuffled(using: &generator)
        #expect(taken(counters, by: &window).allSatisfy { $0 })
        #expect(!taken(counters.shuffled(using: &generator), by: &window).contains(true))
    }

    @Test func `the window does what a set of all counters would do`() {
        var generator = SeededGenerator(seed: 62)
        for _ in 0..<200 {
            var window = ReplayWindow()
            var model = Model()
            var base = generator.number()
            for _ in 0..<500 {
                switch Int.random(in: 0..<20, using: &generator) {
                case 0: base = base &+ UInt64.random(in: 0...1_000, using: &generator)
                case 1: base = max(base, 300) - 300
                default: base = base &+ UInt64.random(in: 0...2, using: &generator)
                }
                let lag: UInt64 = Bool.random(using: &generator) ? 4 : 300
                let counter = base &- UInt64.random(in: 0...lag, using: &generator)
                let expected = model.take(counter)
                #expect(window.take(counter) == expected, "\(counter)")
            }
        }
    }

    @Test func `the ends of the number range are counters like others`() {
        var window = ReplayWindow()
        let counters: [UInt64] = [0, 0, .max, .max, 0, .max - 255, .max - 256]
        #expect(taken(counters, by: &window) == [true, false, true, false, false, true, false])
    }

    @Test func `a step of the window's width forgets all, a step of one less keeps the newest`() {
        var window = ReplayWindow()
        #expect(taken([10, 265, 10, 11], by: &window) == [true, true, false, true])
        #expect(taken([266, 10, 11, 12], by: &window) == [true, false, false, true])
        #expect(taken([522, 266, 267], by: &window) == [true, false, true])
    }
}
