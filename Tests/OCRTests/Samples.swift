// The images that tests read: fixtures of the repository, and the corpora beside it where they are.

import ClusterModel
import Foundation
import OCR
import Testing

enum Samples {
    /// Root of the package.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Real pages with ground truth; nil where there are none.
    static let corpus = directory(variable: "OCR_CORPUS", beside: "corpus")
    /// Hostile and damaged files; nil where there are none.
    static let hostile = directory(variable: "OCR_CORPUS_BAD", beside: "corpus-bad")
    /// Whether the whole corpus is wanted, which takes minutes.
    static let isLong = ProcessInfo.processInfo.environment["OCR_LONG"] == "1"
    static let tessdata = ModelDirectory.locate(configured: nil)

    private static func directory(variable: String, beside name: String) -> URL? {
        let given = ProcessInfo.processInfo.environment[variable].map { URL(fileURLWithPath: $0) }
        let directory = given ?? root.appendingPathComponent("../shared/\(name)").standardizedFileURL
        let manifest = directory.appendingPathComponent("manifest.csv").path
        return FileManager.default.fileExists(atPath: manifest) ? directory : nil
    }

    static func fixture(_ name: String) throws -> Data {
        try Data(contentsOf: root.appendingPathComponent("Tests/Fixtures/images/\(name)"))
    }

    /// Rows of a manifest by column name (RFC 4180).
    static func manifest(_ directory: URL) throws -> [[String: String]] {
        let text = try String(contentsOf: directory.appendingPathComponent("manifest.csv"), encoding: .utf8)
        var rows: [[String]] = [[""]]
        var isQuoted = false
        for character in text {
            let row = rows.count - 1
            let field = rows[row].count - 1
            switch character {
            case "\"":
                // A doubled quote inside of a quoted field closes and opens it: the text keeps none, which is good
                // enough for notes.
                isQuoted.toggle()
            case "," where !isQuoted: rows[row].append("")
            case "\n" where !isQuoted, "\r\n" where !isQuoted: rows.append([""])
            default: rows[row][field].append(character)
            }
        }
        let header = rows.removeFirst()
        return rows.filter { $0.count == header.count }.map { row in
            Dictionary(uniqueKeysWithValues: zip(header, row))
        }
    }
}

/// A test may not throw typed errors over closures that rethrow untyped ones: this keeps the recogniser's error typed.
func recognise(
    _ recogniser: Recogniser, _ data: Data, language: String = "eng", profile: Profile = .standard,
    pages: PageRange = .all, limits: RecognitionLimits = RecognitionLimits()
) -> Result<Recognition, Failure> {
    data.withUnsafeBytes { bytes in
        do throws(Failure) {
            return .success(
                try recogniser.recognise(
                    image: bytes, language: language, profile: profile, pages: pages, limits: limits))
        } catch {
            return .failure(error)
        }
    }
}

/// The failure that decoding a file's headers or pixels gives, or nil.
func code(_ result: Result<Recognition, Failure>) -> Failure.Code? {
    if case .failure(let failure) = result { failure.code } else { nil }
}

/// Character error rate as the corpus defines it.
enum CharacterErrorRate {
    /// NFC, with every run of white space one blank.
    static func normalised(_ text: String) -> [Unicode.Scalar] {
        let words = text.precomposedStringWithCanonicalMapping.split(whereSeparator: \.isWhitespace)
        return Array(words.joined(separator: " ").unicodeScalars)
    }

    /// Levenshtein distance of two texts, nil if it is more than `limit`: only the band that can matter is computed.
    static func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar], limit: Int) -> Int? {
        guard abs(left.count - right.count) <= limit else { return nil }
        guard !left.isEmpty, !right.isEmpty else { return max(left.count, right.count) }
        let beyond = limit + 1
        var above = (0...right.count).map { min($0, beyond) }
        var row = above
        for index in 1...left.count {
            let low = max(1, index - limit)
            let high = min(right.count, index + limit)
            guard low <= high else { return nil }
            row[low - 1] = low == 1 ? min(index, beyond) : beyond
            for column in low...high {
                let substituted = above[column - 1] + (left[index - 1] == right[column - 1] ? 0 : 1)
                let inserted = (column < index + limit ? above[column] : beyond) + 1
                row[column] = min(substituted, inserted, row[column - 1] + 1, beyond)
            }
            swap(&above, &row)
        }
        return above[right.count] > limit ? nil : above[right.count]
    }
}
