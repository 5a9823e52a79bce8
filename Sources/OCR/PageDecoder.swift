// From bytes to upright pixels, page by page, within the limits.

import CTesseract
internal import ClusterModel

/// leptonica's image, owned by whoever holds it.
typealias OpaquePix = UnsafeMutablePointer<PIX>

/// What is checked before a page is decoded.
package struct RecognitionLimits: Hashable, Sendable {
    package var maximumPixels: Int
    package var maximumSidePixels: Int
    package var maximumBytes: Int
    package var maximumPages: Int
    /// Time that the recognition of one page may take.
    package var pageDeadline: Duration

    package init(
        maximumPixels: Int = 100_000_000, maximumSidePixels: Int = 32_767, maximumBytes: Int = 256 << 20,
        maximumPages: Int = 2_000, pageDeadline: Duration = .seconds(180)
    ) {
        self.maximumPixels = maximumPixels
        self.maximumSidePixels = maximumSidePixels
        self.maximumBytes = maximumBytes
        self.maximumPages = maximumPages
        self.pageDeadline = pageDeadline
    }
}

/// The pages of one image file, decoded one at a time.
struct PageDecoder {
    private enum Content {
        case single(ImageDimensions.Size)
        case tiff([TIFFDirectory])
    }

    private let bytes: UnsafeRawBufferPointer
    private let format: ImageFormat
    private let content: Content
    private let limits: RecognitionLimits

    /// Finds the format and the pages. Nothing is decoded yet; `bytes` must outlive the decoder.
    init(_ bytes: UnsafeRawBufferPointer, limits: RecognitionLimits) throws(Failure) {
        guard bytes.count <= limits.maximumBytes else {
            throw Failure(.tooManyBytes, "\(bytes.count) bytes, more than \(limits.maximumBytes) (limit max_bytes)")
        }
        guard let format = ImageFormat.sniff(bytes) else { throw ImageFormat.complaint(about: bytes) }
        self.bytes = bytes
        self.format = format
        self.limits = limits
        if format == .tiff {
            content = .tiff(TIFFDirectories.pages(try TIFFDirectories.read(bytes, limit: limits.maximumPages)))
        } else if let size = ImageDimensions.read(format, bytes) {
            content = .single(size)
        } else {
            throw Failure(.undecodable, "\(format.rawValue): the header is damaged or cut off")
        }
    }

    var pageCount: Int {
        switch content {
        case .single: 1
        case .tiff(let directories): directories.count
        }
    }

    /// Decodes a page, 0 ..< pageCount. The caller owns the image.
    func decode(page: Int) throws(Failure) -> (pix: OpaquePix, rotationDegrees: Int) {
        switch content {
        case .single(let size):
            try check(size.width, size.height)
            guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                let pix = pixReadMem(base, bytes.count)
            else {
                throw Failure(.undecodable, "\(format.rawValue): the pixels could not be decoded (damaged or cut off)")
            }
            guard format == .jpeg else { return (pix, 0) }
            let orientation = ExifOrientation(jpeg: bytes)
            guard let upright = orientation.apply(pix) else { throw Failure(.outOfMemory, "turning the image upright") }
            return (upright, orientation.rotationDegrees)
        case .tiff(let directories):
            return (try decode(directories[page], number: page + 1), 0)
        }
    }

    private func decode(_ directory: TIFFDirectory, number: Int) throws(Failure) -> OpaquePix {
        try check(directory.width, directory.height)
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            throw Failure(.emptyFile, "the file is empty")
        }
        ocr_clear_tiff_error()
        let decoded: OpaquePix?
        if directory.isTiled {
            decoded = ocr_read_tiff_rgba(base, bytes.count, directory.offset)
        } else {
            var offset = Int(directory.offset)
            decoded = pixReadMemFromMultipageTiff(base, bytes.count, &offset)
        }
        guard let decoded else {
            let detail = String(cString: ocr_last_tiff_error())
            throw Failure(
                .undecodable, "tiff, page \(number): \(detail.isEmpty ? "damaged or of an unusual kind" : detail)")
        }
        return decoded
    }

    private func check(_ width: Int, _ height: Int) throws(Failure) {
        guard width > 0, height > 0 else {
            throw Failure(.undecodable, "\(format.rawValue): the header declares \(width) × \(height) pixels")
        }
        guard width <= limits.maximumSidePixels, height <= limits.maximumSidePixels else {
            throw Failure(
                .tooManyPixels, "\(width) × \(height) pixels: a side is longer than \(limits.maximumSidePixels)")
        }
        guard width * height <= limits.maximumPixels else {
            throw Failure(
                .tooManyPixels,
                "\(width) × \(height) pixels, more than \(limits.maximumPixels) (limit max_pixels)")
        }
        // A null image must not be mistaken for a damaged one when it is memory that is short.
        guard ocr_can_allocate(width * height * 4) != 0 else {
            throw Failure(.outOfMemory, "no memory for \(width) × \(height) pixels (limit worker memory)")
        }
    }
}
