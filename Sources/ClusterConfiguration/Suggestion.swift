// Names that were meant, and texts from outside as messages show them.

/// The known name that somebody may have meant.
enum Suggestion {
    /// Names longer than this are not compared.
    private static let longestByteCount = 64

    /// The closest of `names`, when no more than a third of it would have to change.
    static func nearest(to name: String, among names: [String]) -> String? {
        guard name.utf8.count <= longestByteCount else { return nil }
        let measured = names.map { (name: $0, distance: distance(Array(name.utf8), Array($0.utf8))) }
        guard let best = measured.min(by: { $0.distance < $1.distance }),
            best.distance <= max(1, best.name.utf8.count / 3)
        else { return nil }
        return best.name
    }

    /// A text from outside, for a message: at most 200 characters, without control characters.
    static func cut(_ text: String) -> String {
        let plain = text.prefix(200).map { character in
            character.unicodeScalars.contains { $0.value < 32 || $0.value == 127 } ? "?" : String(character)
        }
        return plain.joined() + (text.count > 200 ? "…" : "")
    }

    /// Levenshtein's.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var previous = Array(0...right.count)
        for (row, leftByte) in left.enumerated() {
            var current = [row + 1]
            for (column, rightByte) in right.enumerated() {
                current.append(
                    min(
                        previous[column + 1] + 1, current[column] + 1,
                        previous[column] + (leftByte == rightByte ? 0 : 1)))
            }
            previous = current
        }
        return previous[right.count]
    }
}
