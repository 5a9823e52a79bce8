// The documents of a tree: one file a source, from the parts that its jobs have.

package import ClusterModel
internal import Glibc

/// What stands in the files of a tree.
package enum TreeKind: String, Sendable {
    case text, hocr, alto, tsv, pdf

    /// What a result must have for it.
    package var output: Profile.Output {
        switch self {
        case .text: .text
        case .hocr: .hocr
        case .alto: .alto
        case .tsv: .tsv
        case .pdf: .pdf
        }
    }

    /// The end of a file's name, with its dot.
    var ending: String {
        switch self {
        case .text: ".txt"
        case .hocr: ".hocr"
        case .alto: ".alto.xml"
        case .tsv: ".tsv"
        case .pdf: ".pdf"
        }
    }

    /// The part of one job; nil where its result lacks it.
    func body(of result: JobResult) -> [UInt8]? {
        if self == .text { return Array(result.text.utf8) }
        guard var bytes = result.outputs.first(where: { $0.kind == output })?.bytes else { return nil }
        if self != .pdf, let last = bytes.last, last != 0x0A { bytes.append(0x0A) }
        return bytes
    }

    /// Between the parts of one source: of texts, what stands between pages.
    var separator: [UInt8] { self == .text ? [0x0C] : [] }

    func head(_ record: ExportRecord, _ result: JobResult) -> [UInt8] {
        let source = XMLText.escape(record.source.text)
        switch self {
        case .text, .pdf: return []
        case .tsv:
            return Array(
                ("level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n").utf8
            )
        case .hocr:
            return Array(
                """
                <?xml version="1.0" encoding="UTF-8"?>
                <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
                    "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
                <html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
                 <head>
                  <title>\(source)</title>
                  <meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
                  <meta name="ocr-system" content="\(XMLText.escape(result.engine))"/>
                  <meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrp_wconf"/>
                  <meta name="ocr-number-of-pages" content="\(result.filePageCount ?? result.pages.count)"/>
                 </head>
                 <body>

                """.utf8)
        case .alto:
            let words = result.engine.split(separator: " ", maxSplits: 1).map(String.init)
            return Array(
                """
                <?xml version="1.0" encoding="UTF-8"?>
                <alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xlink="http://www.w3.org/1999/xlink" \
                xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
                xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# \
                http://www.loc.gov/standards/alto/v4/alto-4-4.xsd">
                 <Description>
                  <MeasurementUnit>pixel</MeasurementUnit>
                  <sourceImageInformation>
                   <fileName>\(source)</fileName>
                  </sourceImageInformation>
                  <Processing ID="OCR_0">
                   <processingStepSettings>languages \(XMLText.escape(record.language)); models \
                \(XMLText.escape(result.models)); profile \(XMLText.escape(result.profileDigest))</processingStepSettings>
                   <processingSoftware>
                    <softwareName>\(XMLText.escape(words.first ?? ""))</softwareName>
                    <softwareVersion>\(XMLText.escape(words.count > 1 ? words[1] : ""))</softwareVersion>
                   </processingSoftware>
                  </Processing>
                 </Description>
                 <Layout>

                """.utf8)
        }
    }

    var foot: [UInt8] {
        switch self {
        case .text, .tsv, .pdf: []
        case .hocr: Array(" </body>\n</html>\n".utf8)
        case .alto: Array(" </Layout>\n</alto>\n".utf8)
        }
    }
}

enum XMLText {
    /// Text for an element or an attribute; characters that XML has no way to write become U+FFFD.
    static func escape(_ text: String) -> String {
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;".unicodeScalars
            case "<": escaped += "&lt;".unicodeScalars
            case ">": escaped += "&gt;".unicodeScalars
            case "\"": escaped += "&quot;".unicodeScalars
            case "\t", "\n", "\r": escaped += "&#\(scalar.value);".unicodeScalars
            default:
                let isWritable = scalar.value >= 0x20 && scalar.value != 0xFFFE && scalar.value != 0xFFFF
                escaped.append(isWritable ? scalar : "\u{FFFD}")
            }
        }
        return String(escaped)
    }
}

/// The document of the source whose rows are coming, in a file `document` of a folder for such.
final class DocumentFile {
    static let name = "document"
    private let kind: TreeKind
    private let folder: CInt
    private var descriptor: CInt = -1
    private var digest = StreamDigest()
    /// Whole PDFs, one a part: they are made one at the end.
    private var partCount = 0

    /// - Parameter folder: an open directory.
    init(kind: TreeKind, folder: CInt) {
        self.kind = kind
        self.folder = folder
    }

    var isOpen: Bool { partCount > 0 }

    /// Adds what a done job has. Throws when it lacks what the tree is made of.
    func append(_ record: ExportRecord, _ result: JobResult) throws(ExportError) {
        guard let body = kind.body(of: result) else {
            throw ExportError(
                "the result of job \(record.job) has no \(kind.output.rawValue)",
                hint: "it was recognised with another profile: node redo")
        }
        if kind == .pdf, partCount > 0 { try setPartAside() }
        if kind == .pdf || partCount == 0 { try begin() }
        try write(partCount == 0 ? kind.head(record, result) : kind.separator)
        try write(body)
        partCount += 1
    }

    private func begin() throws(ExportError) {
        digest = StreamDigest()
        descriptor = Self.name.withCString {
            openat(folder, $0, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o666)
        }
        guard descriptor >= 0 else { throw .system("a document cannot be written") }
    }

    private func write(_ bytes: [UInt8]) throws(ExportError) {
        digest.update(bytes)
        try OutputFile.writeAll(bytes, to: descriptor, name: Array("a document".utf8))
    }

    private func partName(_ number: Int) -> String { "part-\(number).pdf" }

    private func setPartAside() throws(ExportError) {
        close()
        let number = partCount - 1
        guard
            Self.name.withCString({ from in partName(number).withCString { renameat(folder, from, folder, $0) } }) == 0
        else { throw .system("a part of a document cannot be written") }
    }

    /// Completes the document. Returns its size and SHA-256, and leaves the file `document` in the folder.
    func end() throws(ExportError) -> StreamDigest {
        if kind == .pdf, partCount > 1 {
            try setPartAside()
            try merge()
        } else {
            try write(kind.foot)
            close()
        }
        partCount = 0
        return digest
    }

    private func merge() throws(ExportError) {
        let parts = (0..<partCount).map { "/proc/self/fd/\(folder)/\(partName($0))" }
        try PDFMerge.merge(parts, into: "/proc/self/fd/\(folder)/\(Self.name)")
        for number in 0..<partCount { partName(number).withCString { _ = unlinkat(folder, $0, 0) } }
        digest = StreamDigest()
        let merged = Self.name.withCString { openat(folder, $0, O_RDONLY | O_CLOEXEC) }
        guard merged >= 0 else { throw .system("a document cannot be read") }
        defer { Glibc.close(merged) }
        digest = try FileDigest.of(merged)
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}

enum FileDigest {
    /// Size and SHA-256 of an open file, from where it stands to its end.
    static func of(_ descriptor: CInt) throws(ExportError) -> StreamDigest {
        var digest = StreamDigest()
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("what was written cannot be read") }
            if count == 0 { return digest }
            digest.update(piece[..<count])
        }
    }
}
