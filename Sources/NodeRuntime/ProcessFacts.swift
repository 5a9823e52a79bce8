// What the kernel says about this process.

import Foundation
import Glibc

package enum ProcessFacts {
    /// Resident memory of this process, in bytes; nil where /proc cannot be read.
    package static func residentBytes() -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
        return pages * Int(getpagesize())
    }
}
