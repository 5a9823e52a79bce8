// Durations as users write them: "100s", "5m", "1h30m", "250ms", or a number of seconds.

import ArgumentParser

/// A duration of a command line.
package struct TimeSpan: ExpressibleByArgument, Hashable, Sendable {
    package let duration: Duration

    package init(_ duration: Duration) { self.duration = duration }

    package init?(argument: String) {
        if let seconds = Double(argument), seconds.isFinite, (0...1e9).contains(seconds) {
            duration = .seconds(seconds)
            return
        }
        var rest = argument[...]
        var total = 0.0
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)]
        repeat {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(number), let factor = units.first(where: { $0.0 == unit })?.1 else { return nil }
            total += value * factor
        } while !rest.isEmpty
        guard total <= 1e9 else { return nil }
        duration = .seconds(total)
    }

    package var milliseconds: Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
