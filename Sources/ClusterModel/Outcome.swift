// How a job stands, and why it failed.

/// A job's outcome, in the order in which `merge` prefers it within one epoch (DESIGN §2).
package enum Outcome: UInt8, Hashable, Comparable, CaseIterable, Sendable {
    case pending = 0
    case failed = 1
    case cancelled = 2
    case done = 3

    package static func < (left: Outcome, right: Outcome) -> Bool { left.rawValue < right.rawValue }

    package var name: String {
        switch self {
        case .pending: "pending"
        case .failed: "failed"
        case .cancelled: "cancelled"
        case .done: "done"
        }
    }

    package init?(name: String) {
        guard let match = Outcome.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

/// Why an attempt at a job failed: a typed code, whether another attempt may help, and a text for people.
package struct Failure: Error, Hashable, Comparable, Sendable {
    /// Raw values are stored in ledgers and sent to peers: never renumber.
    package enum Code: UInt16, Hashable, CaseIterable, Sendable {
        // Permanent: the same bytes will fail again.
        case undecodable = 1
        case unsupportedFormat = 2
        case tooManyPixels = 3
        case tooManyBytes = 4
        case tooManyPages = 5
        case emptyFile = 6
        case notARegularFile = 7
        case languageUnavailable = 8
        /// The store says that there is no such object: it was deleted, or never was.
        case objectMissing = 20
        /// The object was overwritten since it was submitted.
        case objectChanged = 21
        // Transient: another attempt may succeed.
        case sourceMissing = 100
        case sourceUnreadable = 101
        case sourceChanged = 102
        case timeout = 103
        case outOfMemory = 104
        case workerCrashed = 105
        case workerKilled = 106
        case workerProtocol = 107
        case cpuLimit = 108
        case engineError = 109
        case interrupted = 110
        /// Nobody who has the source can be reached now: the job waits, and no attempt is counted.
        case sourceUnreachable = 111

        /// Whether the job is tried again with backoff, up to `max_attempts`.
        package var isTransient: Bool { rawValue >= 100 }

        fileprivate var rank: UInt16 {
            switch self {
            case .sourceUnreachable: 0
            case .interrupted: 1
            default: rawValue + 1
            }
        }

        /// The name that users see: "undecodable", "worker-crashed", …
        package var name: String {
            switch self {
            case .undecodable: "undecodable"
            case .unsupportedFormat: "unsupported-format"
            case .tooManyPixels: "too-many-pixels"
            case .tooManyBytes: "too-many-bytes"
            case .tooManyPages: "too-many-pages"
            case .emptyFile: "empty-file"
            case .notARegularFile: "not-a-regular-file"
            case .languageUnavailable: "language-unavailable"
            case .objectMissing: "object-missing"
            case .objectChanged: "object-changed"
            case .sourceMissing: "source-missing"
            case .sourceUnreadable: "source-unreadable"
            case .sourceChanged: "source-changed"
            case .timeout: "timeout"
            case .outOfMemory: "out-of-memory"
            case .workerCrashed: "worker-crashed"
            case .workerKilled: "worker-killed"
            case .workerProtocol: "worker-protocol"
            case .cpuLimit: "cpu-limit"
            case .engineError: "engine-error"
            case .interrupted: "interrupted"
            case .sourceUnreachable: "source-unreachable"
            }
        }
    }

    package let code: Code
    /// One line for a person: what, where; at most `Limits.failureDetailByteCount` bytes.
    package let detail: String

    /// Cuts `detail` to its limit, at a character boundary.
    package init(_ code: Code, _ detail: String) {
        self.code = code
        if detail.utf8.count <= Limits.failureDetailByteCount {
            self.detail = detail
        } else {
            var cut = ""
            for character in detail {
                if cut.utf8.count + character.utf8.count > Limits.failureDetailByteCount - 3 { break }
                cut.append(character)
            }
            self.detail = cut + "…"
        }
    }

    /// "undecodable: libpng: CRC error".
    package var text: String { "\(code.name): \(detail)" }

    /// Of two failures of one attempt the greater is kept: one that found its source unreachable is begun again under its
    /// number, and one that was given back may have run elsewhere; how that ends says more.
    package static func < (left: Failure, right: Failure) -> Bool {
        if left.code != right.code { return left.code.rank < right.code.rank }
        return left.detail.utf8.lexicographicallyPrecedes(right.detail.utf8)
    }
}
