// Why an object could not be had, and what that means for the job that wants it.

package import ClusterModel

package struct StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// There is no such object.
        case missing
        /// The object is another one than was submitted.
        case changed
        /// The store does not give this object.
        case denied
        /// It is larger than is read.
        case tooLarge
        case empty
        /// The answer makes no sense.
        case unusable
        /// The store cannot be reached, is too busy, or does not know who asks: no fault of the object.
        case unavailable
        case cancelled
    }

    package let kind: Kind
    /// What was asked for, what came, what to do; no secret in it.
    package let text: String

    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    package var description: String { text }

    /// How the job's attempt ends.
    package var failure: Failure {
        switch kind {
        case .missing: Failure(.objectMissing, text)
        case .changed: Failure(.objectChanged, text)
        case .denied, .unusable: Failure(.sourceUnreadable, text)
        case .tooLarge: Failure(.tooManyBytes, text)
        case .empty: Failure(.emptyFile, text)
        case .unavailable, .cancelled: Failure(.sourceUnreachable, text)
        }
    }
}
