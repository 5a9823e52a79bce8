// What a recognition gives.

/// The result of one page.
package struct PageResult: Hashable, Sendable {
    /// UTF-8 text as Tesseract gives it; empty for a blank page.
    package var text: String
    /// Mean word confidence, 0...100; nil where there is no word.
    package var confidence: Float?
    package var wordCount: Int
    /// Pixels of the decoded page, after orientation was applied.
    package var width: Int
    package var height: Int
    /// Resolution that was used for recognition.
    package var dpi: Int
    /// Degrees by which the page was turned clockwise before recognition: 0, 90, 180 or 270 (EXIF orientation).
    package var rotationDegrees: Int
    /// Whether the page has no text at all (an empty page, not an undecoded one).
    package var isBlank: Bool

    package init(
        text: String, confidence: Float?, wordCount: Int, width: Int, height: Int, dpi: Int, rotationDegrees: Int,
        isBlank: Bool
    ) {
        self.text = text
        self.confidence = confidence
        self.wordCount = wordCount
        self.width = width
        self.height = height
        self.dpi = dpi
        self.rotationDegrees = rotationDegrees
        self.isBlank = isBlank
    }
}

/// What a profile asks for besides the text, of all pages of one job.
package struct OutputBody: Hashable, Sendable {
    /// Not `text`, which the pages have.
    package var kind: Profile.Output
    /// Uncompressed. `hocr`, `alto`, `tsv`: the pages' parts one after the other, without what stands around them in a
    /// file (elements `div class='ocr_page'`, elements `Page`, lines), numbered as in the whole file, from 1. `words`: a
    /// JSON array for each page, a line each. `pdf`: a whole file.
    package var bytes: [UInt8]

    package init(kind: Profile.Output, bytes: [UInt8]) {
        self.kind = kind
        self.bytes = bytes
    }
}

/// The result of one job: all its pages, and what made them.
package struct JobResult: Hashable, Sendable {
    /// 1 or more pages in page order.
    package var pages: [PageResult]
    /// SHA-256 of the source's bytes, 32 bytes.
    package var sourceSHA256: [UInt8]
    /// "tesseract 5.3.0 leptonica-1.82.0".
    package var engine: String
    /// "deu:1a2b3c4d,eng:…": every model with the first 16 hexadecimal digits of its SHA-256.
    package var models: String
    /// 16 hexadecimal digits: digest of the profile's canonical text.
    package var profileDigest: String
    /// The node that recognised it. Not part of the digest.
    package var node: NodeID
    /// Wall time of the recognition in the worker. Not part of the digest.
    package var milliseconds: Int
    /// Pages of the whole file where the job covers a part of it; nil where `pages` are all of them. Not part of the
    /// digest.
    package var filePageCount: Int?
    /// The job whose recognition this repeats; nil where the job's own image was recognised. Not part of the digest.
    package var reused: JobKey?
    /// What the profile asks for besides the text, in the order of `Profile.Output`, each kind once.
    package var outputs: [OutputBody]

    package init(
        pages: [PageResult], sourceSHA256: [UInt8], engine: String, models: String, profileDigest: String,
        node: NodeID, milliseconds: Int, filePageCount: Int? = nil, reused: JobKey? = nil, outputs: [OutputBody] = []
    ) {
        self.pages = pages
        self.sourceSHA256 = sourceSHA256
        self.engine = engine
        self.models = models
        self.profileDigest = profileDigest
        self.node = node
        self.milliseconds = milliseconds
        self.filePageCount = filePageCount
        self.reused = reused
        self.outputs = outputs
    }

    /// The text of all pages, separated by form feeds.
    package var text: String { pages.map(\.text).joined(separator: "\u{0C}") }
    package var wordCount: Int { pages.reduce(0) { $0 + $1.wordCount } }
    package var isBlank: Bool { pages.allSatisfy(\.isBlank) }

    /// Mean confidence of all words, pages weighted by their words; nil where there is no word.
    package var confidence: Float? {
        var sum: Float = 0
        var words = 0
        for page in pages {
            guard let confidence = page.confidence, page.wordCount > 0 else { continue }
            sum += confidence * Float(page.wordCount)
            words += page.wordCount
        }
        return words == 0 ? nil : sum / Float(words)
    }
}

/// A result as the ledger stores and peers exchange it: the encoded bytes and the digest over what recognition decided.
package struct StoredResult: Hashable, Sendable {
    /// First 128 bits of SHA-256 over the pages' text and figures, engine, models and profile: equal for equal
    /// recognitions, whichever node made them.
    package let digest: Bits128
    /// `Results.ResultCodec` encoding of the `JobResult`; at most `Limits.resultByteCount`.
    package let body: [UInt8]

    package init(digest: Bits128, body: [UInt8]) {
        self.digest = digest
        self.body = body
    }
}
