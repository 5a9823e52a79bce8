// Progress bars and the text form of sources in messages.

internal import ClusterModel

/// A bar of characters.
package enum ProgressText {
    /// "[#######---] 71.0 %"; without the bar when there is no room for it. Shows 100 % only when all is finished.
    package static func bar(finished: UInt64, total: UInt64, width: Int) -> String {
        guard total > 0 else { return "" }
        let share = min(1, Double(finished) / Double(total))
        let tenths = finished >= total ? 1_000 : min(999, Int(share * 1_000))
        let percent = "\(tenths / 10).\(tenths % 10) %"
        guard width >= 10 else { return percent }
        let filled = min(width, Int(share * Double(width)))
        return "[\(String(repeating: "#", count: filled))\(String(repeating: "-", count: width - filled))] \(percent)"
    }
}

/// Sources in messages of the admin interface.
package enum SourceText {
    /// The text form (`SourceReference.text`) of a source's bytes.
    package static func text(_ bytes: some Sequence<UInt8>) -> String { SourceReference(bytes: Array(bytes)).text }
}
