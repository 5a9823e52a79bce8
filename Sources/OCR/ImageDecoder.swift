// From bytes to upright pixels, page by page.

import CTesseract
import ClusterModel

/// A decoded page, upright. Owns leptonica's Pix until it is handed to Tesseract.
struct DecodedPage: ~Copyable {
    private var image: OpaquePointer?
    let width: Int
    let height: Int
    /// Clockwise, 0, 90, 180 or 270.
    let rotationDegrees: Int

    /// Takes `image` over and turns it.
    ///
    /// - Throws: `outOfMemory`.
    init(image: OpaquePointer, orientation: Orientation) throws(Failure) {
        guard let turned = ocr_image_turned(image, Int32(orientation.quarterTurns), orientation.isMirrored) else {
            throw Failure(.outOfMemory, "no memory to turn the page")
        }
        self.image = turned
        width = Int(ocr_image_width(turned))
        height = Int(ocr_image_height(turned))
        rotationDegrees = 90 * orientation.quarterTurns
        // Tesseract falls back in the same way by itself, after a complaint about the value.
        if !ImageDecoder.credibleResolutions.contains(Int(ocr_image_resolution(turned))) {
            ocr_image_forget_resolution(turned)
        }
    }

    deinit {
        if let image { ocr_image_free(image) }
    }

    /// The Pix; the caller owns it now.
    mutating func take() -> OpaquePointer? {
        defer { image = nil }
        return image
    }

    /// 0xRRGGBB of one pixel.
    func pixel(_ x: Int, _ y: Int) -> UInt32 { image.map { ocr_image_pixel($0, Int32(x), Int32(y)) } ?? 0 }
}

/// An image file whose headers have been checked: it decodes within the limits, or says why not.
struct ImageDecoder {
    /// Resolutions that Tesseract believes, in pixels per inch.
    static let credibleResolutions = 70...2_400

    private enum Plan {
        case single(ImageHeader)
        case directories([TIFFDirectory])
        case document(PDFDocument)
    }

    let format: ImageFormat
    private let bytes: UnsafeRawBufferPointer
    private let plan: Plan
    private let limits: RecognitionLimits

    /// Identifies the format and checks every page of `range` against `limits`; decodes nothing. `bytes` must outlive
    /// the decoder.
    ///
    /// - Parameters:
    ///   - resolution: at which the pages of a PDF are rendered, in pixels per inch.
    ///   - narrow: told the file's number of pages where `range` is all of them; answers which ones are wanted.
    /// - Throws: `emptyFile`, `tooManyBytes`, `unsupportedFormat`, `undecodable`, `tooManyPixels`, `tooManyPages`.
    init(
        _ bytes: UnsafeRawBufferPointer, pages range: PageRange,
        resolution: Int = PDFDocument.standardResolution, limits: RecognitionLimits,
        narrow: (_ pageCount: Int) -> PageRange = { _ in .all }
    ) throws(Failure) {
        guard bytes.count <= limits.maximumBytes else {
            throw Failure(.tooManyBytes, "\(bytes.count) bytes; \(limits.maximumBytes) are allowed")
        }
        self.bytes = bytes
        self.limits = limits
        format = try ImageFormat.identify(bytes)
        let count: Int
        switch format {
        case .tiff:
            let directories = try TIFFFile(bytes).pages(limits: limits)
            plan = .directories(directories)
            count = directories.count
        case .pdf:
            let document = try PDFDocument(bytes, resolution: resolution, limits: limits)
            plan = .document(document)
            count = document.pageCount
        default:
            plan = .single(try ImageHeader.read(bytes, as: format, limits: limits))
            count = 1
        }
        pageCount = count
        switch range == .all ? narrow(count) : range {
        case .all:
            pageNumbers = 1...count
        case .pages(let first, let last):
            guard first >= 1, first <= last, first <= count else {
                throw Failure(.undecodable, "pages \(first) to \(last) were asked for; the file has \(count)")
            }
            pageNumbers = first...min(last, count)
        }
        switch plan {
        case .single: break
        case .directories(let directories):
            for number in pageNumbers { try directories[number - 1].check(limits: limits) }
        case .document(let document):
            for number in pageNumbers { _ = try document.size(ofPage: number, limits: limits) }
        }
    }

    /// Pages of the file.
    let pageCount: Int

    /// The pages to decode, counted from 1: those of the range that the file has.
    let pageNumbers: ClosedRange<Int>

    /// Decodes one of `pageNumbers`.
    ///
    /// - Throws: `outOfMemory` if the pixels cannot be held, `undecodable`, `tooManyPixels`.
    func decode(page number: Int) throws(Failure) -> DecodedPage {
        switch plan {
        case .single(let header):
            try Self.reserve(header.neededByteCount)
            return try decode(header.orientation) { start, count in ocr_image_decode(start, count) }
        case .directories(let directories):
            let directory = directories[number - 1]
            guard directory.orientation != .upright, let offset = directory.orientationOffset else {
                try Self.reserve(directory.neededByteCount)
                return try decode(directory, from: bytes)
            }
            // libtiff and leptonica each apply part of the tag, differently for different samples. A copy that says
            // "upright" makes them leave it alone, and the page is turned like any other.
            try Self.reserve(directory.neededByteCount + bytes.count)
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            defer { copy.deallocate() }
            copy.copyMemory(from: bytes)
            copy[offset] = 1
            return try decode(directory, from: UnsafeRawBufferPointer(copy))
        case .document(let document): return try document.render(page: number, limits: limits)
        }
    }

    private func decode(_ directory: TIFFDirectory, from source: UnsafeRawBufferPointer) throws(Failure) -> DecodedPage
    {
        let offset = UInt64(directory.offset)
        return try decode(directory.orientation, from: source) { start, count in
            // leptonica refuses tiles; whatever it can read is left to it.
            directory.isTiled
                ? ocr_image_decode_tiff_rgba(start, count, offset) : ocr_image_decode_tiff(start, count, offset)
        }
    }

    private func decode(
        _ orientation: Orientation, from source: UnsafeRawBufferPointer? = nil,
        _ body: (UnsafePointer<UInt8>?, Int) -> OpaquePointer?
    ) throws(Failure) -> DecodedPage {
        let source = source ?? bytes
        var message = [CChar](repeating: 0, count: 400)
        ocr_messages_begin()
        let image = body(source.baseAddress?.assumingMemoryBound(to: UInt8.self), source.count)
        ocr_messages_end(&message, message.count)
        guard let image else {
            let detail = Self.text(message)
            throw Failure(
                .undecodable, "\(format.rawValue): \(detail.isEmpty ? "the image cannot be decoded" : detail)")
        }
        let page = try DecodedPage(image: image, orientation: orientation)
        // The header may have said something else than what the decoder made of it.
        try ImageHeader.checkSize(width: page.width, height: page.height, limits: limits)
        return page
    }

    /// A null Pix does not say whether memory or the image is at fault: see to memory first.
    private static func reserve(_ byteCount: Int) throws(Failure) {
        guard ocr_can_allocate(byteCount) else {
            throw Failure(.outOfMemory, "\(byteCount >> 20) MiB for the pixels of the page cannot be had")
        }
    }

    /// A C string in a buffer, invalid UTF-8 replaced.
    static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
