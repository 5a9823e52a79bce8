// Bounds of what is taken from a metadata service and from services that give credentials.

/// Fixed limits; sizes are bytes.
package enum MetadataLimits {
    /// Longest answer; Azure lists the events of up to some hundred machines in one.
    package static let answerByteCount = 256 << 10
    /// Events that are looked at in one answer of Azure.
    package static let eventCount = 1_000
    /// Longest text of a service that is shown to people.
    package static let shownCharacterCount = 80

    /// A text from outside for a message: short, without control characters.
    package static func shown(_ text: String) -> String {
        let plain = text.unicodeScalars.prefix(shownCharacterCount).map { scalar in
            scalar.value < 32 || scalar.value == 127 ? "?" : String(scalar)
        }
        return plain.joined() + (text.unicodeScalars.count > shownCharacterCount ? "…" : "")
    }
}
