// `--language-for 'GLOB=deu'`: the language of an entry by its path.

internal import ClusterModel
internal import Glibc

/// Rules in the order in which they were given; the first that matches wins.
package struct LanguageRules: Sendable {
    private struct Rule: Sendable {
        let patterns: [[UInt8]]
        let language: String
    }

    private let rules: [Rule]
    /// The rules as they were given, "GLOB=language".
    package let sources: [[UInt8]]

    /// Reads "GLOB=language" texts. A glob is matched against the whole path, with `*` matching `/` too; one that does
    /// not begin with `/` also matches from any folder on.
    package init(_ texts: [(text: String, bytes: [UInt8])]) throws(SubmissionError) {
        var rules: [Rule] = []
        for (text, bytes) in texts {
            guard let equals = bytes.lastIndex(of: UInt8(ascii: "=")), equals > 0 else {
                throw SubmissionError(
                    "'\(text)' is not GLOB=LANGUAGE", hint: "example: --language-for '*/german/*=deu'")
            }
            let language = String(decoding: bytes[(equals + 1)...], as: UTF8.self)
            guard LanguageSpecification.names(in: language) != nil else {
                throw SubmissionError("'\(language)' in '\(text)' is not a language", hint: "example: deu or deu+eng")
            }
            let pattern = Array(bytes[..<equals])
            let isAnchored = pattern.first == RawPath.slash
            rules.append(
                Rule(patterns: isAnchored ? [pattern] : [pattern, Array("*/".utf8) + pattern], language: language))
        }
        self.rules = rules
        sources = texts.map(\.bytes)
    }

    /// Reads "GLOB=language" as bytes; throws as `init(_:)` with texts does.
    package init(_ rules: [[UInt8]]) throws(SubmissionError) {
        try self.init(rules.map { (String(decoding: $0, as: UTF8.self), $0) })
    }

    /// Every language that the rules name, each once.
    package var languages: [String] { Array(Set(rules.map(\.language))).sorted() }

    /// The language of the first rule that matches a path.
    package func language(for path: [UInt8]) -> String? {
        rules.first { rule in
            rule.patterns.contains { pattern in
                FileSystem.withPath(pattern) { glob in FileSystem.withPath(path) { fnmatch(glob, $0, 0) == 0 } }
            }
        }?.language
    }
}
