// Times as object stores and web servers write them.

internal import CloudMetadata

/// Times that servers write.
package enum ServerTime {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Nanoseconds since 1970 of "2024-05-01T10:20:30.000Z" (a fraction of up to nine digits may be left out), nil for
    /// anything else.
    package static func iso8601(_ text: some StringProtocol) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 30, bytes.last == UInt8(ascii: "Z"), bytes[4] == UInt8(ascii: "-"),
            bytes[7] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"),
            bytes[16] == UInt8(ascii: ":"),
            let seconds = seconds(
                year: number(bytes[0..<4]), month: number(bytes[5..<7]), day: number(bytes[8..<10]),
                hour: number(bytes[11..<13]), minute: number(bytes[14..<16]), second: number(bytes[17..<19]))
        else { return nil }
        var fraction: Int64 = 0
        if bytes.count > 20 {
            guard bytes[19] == UInt8(ascii: "."), let digits = number(bytes[20..<(bytes.count - 1)]) else { return nil }
            fraction = Int64(digits)
            for _ in (bytes.count - 21)..<9 { fraction *= 10 }
        }
        return nanoseconds(seconds, fraction)
    }

    /// Nanoseconds since 1970 of "Wed, 21 Oct 2015 07:28:00 GMT", nil for anything else.
    package static func http(_ text: some StringProtocol) -> Int64? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])) else {
            return nil
        }
        let clock = parts[4].split(separator: ":", omittingEmptySubsequences: false)
        guard clock.count == 3, parts[3].utf8.count == 4,
            let seconds = seconds(
                year: number(parts[3].utf8), month: month + 1, day: number(parts[1].utf8),
                hour: number(clock[0].utf8), minute: number(clock[1].utf8), second: number(clock[2].utf8))
        else { return nil }
        return nanoseconds(seconds, 0)
    }

    private static func nanoseconds(_ seconds: Int64, _ fraction: Int64) -> Int64? {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, alsoOverflow) = product.addingReportingOverflow(fraction)
        return overflow || alsoOverflow ? nil : sum
    }

    private static func seconds(
        year: Int?, month: Int?, day: Int?, hour: Int?, minute: Int?, second: Int?
    ) -> Int64? {
        guard let year, let month, let day, let hour, let minute, let second, (1...12).contains(month),
            (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        let days = CivilDate(year: year, month: month, day: day).daysSince1970
        return Int64(days) * 86_400 + Int64(hour * 3_600 + minute * 60 + second)
    }

    /// A number of at most nine digits.
    private static func number(_ digits: some Collection<UInt8>) -> Int? {
        guard !digits.isEmpty, digits.count <= 9,
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }
}
