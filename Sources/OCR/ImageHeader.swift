// The size of an image from its header: what decoding it would cost, known before it is decoded.

import ClusterModel

/// What the header of a single-page format says. TIFF has `TIFFDirectory`, PDF `PDFDocument`.
struct ImageHeader: Hashable, Sendable {
    /// Stored pixels, before orientation.
    var width: Int
    var height: Int
    /// Depth to which it is decoded: 1, 2, 4, 8, 16 or 32.
    var decodedBitsPerPixel: Int
    /// Bytes that the decoder needs besides the decoded pixels.
    var decoderByteCount: Int
    var orientation: Orientation

    init(
        width: Int, height: Int, decodedBitsPerPixel: Int, decoderByteCount: Int = 0,
        orientation: Orientation = .upright
    ) {
        self.width = width
        self.height = height
        self.decodedBitsPerPixel = decodedBitsPerPixel
        self.decoderByteCount = decoderByteCount
        self.orientation = orientation
    }

    /// Reads the header of any format but TIFF and PDF.
    ///
    /// - Throws: `undecodable` if there is no sound header; `tooManyPixels`.
    static func read(
        _ bytes: UnsafeRawBufferPointer, as format: ImageFormat, limits: RecognitionLimits
    ) throws(Failure) -> ImageHeader {
        let view = ByteView(bytes)
        let header: ImageHeader?
        switch format {
        case .png: header = png(view)
        case .jpeg: header = jpeg(view)
        case .gif: header = try gif(view, limits: limits)
        case .bmp: header = bmp(view)
        case .pnm: header = pnm(view)
        case .webp: header = webp(view)
        case .jpeg2000: header = try jpeg2000(view, limits: limits)
        case .tiff, .pdf: header = nil
        }
        guard let header else {
            throw Failure(.undecodable, "\(format.rawValue): the header is damaged or cut off")
        }
        try checkSize(width: header.width, height: header.height, limits: limits)
        return header
    }

    /// - Throws: `undecodable` for a side of nothing, `tooManyPixels`.
    static func checkSize(width: Int, height: Int, limits: RecognitionLimits) throws(Failure) {
        guard width > 0, height > 0 else {
            throw Failure(.undecodable, "the image is \(width) × \(height) pixels")
        }
        // Whatever is configured, no side beyond Tesseract's own bound: products of sides cannot overflow behind this.
        let longest = min(limits.maximumSidePixels, RecognitionLimits.engineSidePixels)
        guard width <= longest, height <= longest else {
            throw Failure(.tooManyPixels, "\(width) × \(height) pixels; the longest side allowed is \(longest)")
        }
        guard width * height <= limits.maximumPixels else {
            throw Failure(.tooManyPixels, "\(width) × \(height) pixels; \(limits.maximumPixels) are allowed")
        }
    }

    /// Bytes to decode the image and to hand Tesseract its copy.
    var neededByteCount: Int {
        let rowByteCount = (width * decodedBitsPerPixel + 31) / 32 * 4
        return 2 * rowByteCount * height + decoderByteCount
    }
}
