// The one way in which a configuration is refused.

/// A configuration file that cannot be used: what is wrong, where, and what to do. Nothing has been changed.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The process's exit code for this error (`EX_CONFIG`).
    package static let exitCode: Int32 = 78

    /// The file as it was named.
    package let path: String
    /// Counted from 1; nil where the whole file is meant.
    package let line: Int?
    /// "[limits] max_pixels", nil where no key is meant.
    package let key: String?
    /// What is wrong.
    package let problem: String
    /// What would be right; empty where there is nothing to say.
    package let expected: String
    /// What to do next.
    package let hint: String

    package init(
        path: String, line: Int? = nil, key: String? = nil, problem: String, expected: String = "",
        hint: String = "cluster.conf.example explains every key"
    ) {
        self.path = path
        self.line = line
        self.key = key
        self.problem = problem
        self.expected = expected
        self.hint = hint
    }

    /// "cluster.conf:12: [limits] max_pixels: is 0; expected …".
    package var message: String {
        path + (line.map { ":\($0)" } ?? "") + ": " + (key.map { "\($0): " } ?? "") + problem
            + (expected.isEmpty ? "" : "; expected \(expected)")
    }

    package var description: String { hint.isEmpty ? message : "\(message)\n  hint: \(hint)" }
}
