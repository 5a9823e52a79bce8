// What recognition of one file gives.

import ClusterModel

/// The recognised pages of one file, and what made them.
package struct Recognition: Hashable, Sendable {
    /// The pages asked for, in order; at least one.
    package var pages: [PageResult]
    /// Pages of the file, those included that were not asked for.
    package var pageCount: Int
    /// SHA-256 of the bytes given, 32 bytes.
    package var sourceSHA256: [UInt8]
    /// "tesseract 5.3.0 leptonica-1.82.0".
    package var engine: String
    /// "deu:1a2b3c4d5e6f7a8b,eng:…": the models used, in order, with the first 16 hexadecimal digits of their SHA-256.
    package var models: String
    /// What the profile asks for besides the text, in the order of `Profile.Output`, each kind once.
    package var outputs: [OutputBody]

    package init(
        pages: [PageResult], pageCount: Int, sourceSHA256: [UInt8], engine: String, models: String,
        outputs: [OutputBody] = []
    ) {
        self.pages = pages
        self.pageCount = pageCount
        self.sourceSHA256 = sourceSHA256
        self.engine = engine
        self.models = models
        self.outputs = outputs
    }
}
