// What goes wrong between a machine and the metadata service of its cloud.

/// An answer of a metadata service that cannot be used, or none.
package struct MetadataError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was asked for, what came, and what to do; no secret in it.
    package let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { text }
}
