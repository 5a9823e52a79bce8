// What decides a recognition's output besides the bytes of the image.

/// OCR options that change the output (DESIGN §2). Two jobs with equal bytes and equal profile give equal text.
package struct Profile: Hashable, Sendable {
    /// Tesseract page segmentation mode, 0...13; 3 is "auto". 0 and 2 do not recognise and are refused.
    package var pageSegmentationMode: Int
    /// Resolution to assume, 70...2,400; nil takes that of the image, or Tesseract's estimate where it has none.
    package var dpi: Int?
    /// What is produced. Text always.
    package var outputs: [Output]

    /// What a recognition can give besides the text and its figures.
    package enum Output: String, Hashable, CaseIterable, Sendable {
        /// UTF-8 text; part of every result.
        case text
        /// hOCR: HTML with the boxes of blocks, lines and words.
        case hocr
        /// ALTO XML.
        case alto
        /// A line for each box, fields separated by tabs.
        case tsv
        /// Words with boxes and confidences, as JSON.
        case words
        /// The image with the text invisibly behind it.
        case pdf
    }

    package static let standard = Profile()

    package init(pageSegmentationMode: Int = 3, dpi: Int? = nil, outputs: [Output] = [.text]) {
        self.pageSegmentationMode = pageSegmentationMode
        self.dpi = dpi
        self.outputs = outputs
    }

    /// The text that the digest of a profile covers; the language is that of the job.
    package func canonicalText(language: String) -> String {
        "v1;language=\(language);psm=\(pageSegmentationMode);dpi=\(dpi.map(String.init) ?? "auto");"
            + "outputs=\(outputs.map(\.rawValue).sorted().joined(separator: ","))"
    }
}

/// "deu+eng": the models of a job, in the order in which Tesseract gets them.
package enum LanguageSpecification {
    /// The names in a specification, or nil when it is malformed: 1...16 names of letters, digits, `_`, `-` and `/`
    /// (`script/Fraktur`), joined by `+`, no name twice, none that could leave the model directory.
    package static func names(in specification: String) -> [String]? {
        guard specification.utf8.count <= Limits.languageByteCount else { return nil }
        let names = specification.split(separator: "+", omittingEmptySubsequences: false).map(String.init)
        guard (1...Limits.languageCount).contains(names.count), Set(names).count == names.count else { return nil }
        for name in names {
            let isPlain = name.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "/")
            }
            guard isPlain, !name.isEmpty, name.first != "/", name.last != "/", name.first != "-" else { return nil }
        }
        return names
    }
}
