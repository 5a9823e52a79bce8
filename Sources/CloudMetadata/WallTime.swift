// Times as metadata services and credential services write them. Nothing in them traps, whatever stands there.

/// A moment of the wall clock, in seconds since 1970, UTC.
package struct WallTime: Hashable, Comparable, Sendable {
    package let seconds: Int64

    package init(seconds: Int64) { self.seconds = seconds }

    package static func < (left: WallTime, right: WallTime) -> Bool { left.seconds < right.seconds }

    private static let textByteCount = 64
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// "2017-09-18T08:22:00Z", with a fraction (cut off) or an offset ("+00:00"), or "Mon, 19 Sep 2016 18:29:47 GMT".
    /// Returns nil for anything else.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.textByteCount else { return nil }
        guard let seconds = Self.internet(Array(text.utf8)) ?? Self.mail(text) else { return nil }
        self.seconds = seconds
    }

    /// "12:34:56", UTC.
    package var clock: String {
        let day = seconds.modulo(86_400)
        return [day / 3_600, day / 60 % 60, day % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }

    /// RFC 3339.
    private static func internet(_ bytes: [UInt8]) -> Int64? {
        guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] | 0x20 == UInt8(ascii: "t"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]), let day = number(bytes[8..<10]),
            let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]), let second = number(bytes[17..<19])
        else { return nil }
        var rest = bytes[19...]
        if rest.first == UInt8(ascii: ".") {
            let fraction = rest.dropFirst().prefix { isDigit($0) }
            guard !fraction.isEmpty else { return nil }
            rest = rest[fraction.endIndex...]
        }
        guard let offset = offset(rest) else { return nil }
        return seconds(year, month, day, hour, minute, second).map { $0 - offset }
    }

    /// "Z", "+HH:MM" or "+HHMM", in seconds.
    private static func offset(_ bytes: ArraySlice<UInt8>) -> Int64? {
        guard let first = bytes.first else { return nil }
        if bytes.count == 1 { return first | 0x20 == UInt8(ascii: "z") ? 0 : nil }
        guard first == UInt8(ascii: "+") || first == UInt8(ascii: "-") else { return nil }
        let digits = bytes.dropFirst().filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 4, let hours = number(digits[..<2]), let minutes = number(digits[2...]),
            hours < 24, minutes < 60
        else { return nil }
        return (first == UInt8(ascii: "-") ? -1 : 1) * (hours * 3_600 + minutes * 60)
    }

    /// RFC 1123.
    private static func mail(_ text: String) -> Int64? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[0].hasSuffix(","), words[5] == "GMT" || words[5] == "UTC",
            let day = number(Array(words[1].utf8)[...]), let month = months.firstIndex(of: String(words[2])),
            words[3].utf8.count == 4, let year = number(Array(words[3].utf8)[...])
        else { return nil }
        let clock = words[4].split(separator: ":", omittingEmptySubsequences: false).map { number(Array($0.utf8)[...]) }
        guard clock.count == 3, let hour = clock[0], let minute = clock[1], let second = clock[2] else { return nil }
        return seconds(year, Int64(month + 1), day, hour, minute, second)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// At most four digits and nothing else.
    private static func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
        guard (1...4).contains(bytes.count), bytes.allSatisfy(isDigit) else { return nil }
        return bytes.reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
    }

    private static func seconds(
        _ year: Int64, _ month: Int64, _ day: Int64, _ hour: Int64, _ minute: Int64, _ second: Int64
    ) -> Int64? {
        guard (1_970...9_999).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        let days = CivilDate(year: Int(year), month: Int(month), day: Int(day)).daysSince1970
        return Int64(days) * 86_400 + hour * 3_600 + minute * 60 + second
    }
}
