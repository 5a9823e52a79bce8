// Switches of the tests that come from outside.

import Foundation

enum Environment {
    /// `make test-long`.
    static let isLong = ProcessInfo.processInfo.environment["OCR_LONG"] != nil
    /// Write the traces of the scenarios anew instead of comparing them.
    static let updatesScenarios = ProcessInfo.processInfo.environment["UPDATE_SCENARIOS"] != nil
}
