// What one image may cost. Checked from headers, before pixels are decoded.

/// Bounds on one recognition. The defaults are those of `cluster.conf`.
package struct RecognitionLimits: Hashable, Sendable {
    /// Largest page, width times height.
    package var maximumPixels: Int
    /// Largest file, in bytes.
    package var maximumBytes: Int
    /// Most pages of one file.
    package var maximumPages: Int
    /// Longest side that Tesseract takes.
    package static let engineSidePixels = 32_767

    /// Longest side of a page in pixels; values above `engineSidePixels` count as that.
    package var maximumSidePixels: Int
    /// Soft limit on decoding and recognising one page. Tesseract looks at it between words only: layout analysis may
    /// overrun it, so that the process needs a harder limit outside. The default leaves 10 s of the worker's 180 s.
    package var pageDeadline: Duration

    package init(
        maximumPixels: Int = 100_000_000, maximumBytes: Int = 256 << 20, maximumPages: Int = 2_000,
        maximumSidePixels: Int = 32_767, pageDeadline: Duration = .seconds(170)
    ) {
        self.maximumPixels = maximumPixels
        self.maximumBytes = maximumBytes
        self.maximumPages = maximumPages
        self.maximumSidePixels = maximumSidePixels
        self.pageDeadline = pageDeadline
    }
}
