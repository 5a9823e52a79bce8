// The one place that needs Foundation's Data: GRDB takes blobs in no other form.

internal import FoundationEssentials
internal import GRDB

enum FoundationData {
    static func value(_ bytes: [UInt8]) -> DatabaseValue { Data(bytes).databaseValue }
}
