// One PDF of several, by qpdf's library.

internal import CQpdf

enum PDFMerge {
    /// Writes the pages of all files, in order, as one PDF. Equal inputs give equal bytes.
    static func merge(_ paths: [String], into target: String) throws(ExportError) {
        let words = ["qpdf", "--empty", "--deterministic-id", "--warning-exit-0", "--pages"] + paths + ["--", target]
        var message = [CChar](repeating: 0, count: 512)
        let arguments = words.map { Array($0.utf8CString) }
        let code = withPointers(arguments) { qpdf_run($0, &message, message.count) }
        guard code == 0 else {
            let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw ExportError("the parts of a PDF cannot be made one: \(text)")
        }
    }

    /// The texts as a C array of pointers, with a null pointer at its end.
    private static func withPointers<Result>(
        _ texts: [[CChar]], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
    ) -> Result {
        let joined = texts.flatMap { $0 }
        return joined.withUnsafeBufferPointer { buffer in
            var pointers: [UnsafePointer<CChar>?] = []
            var offset = 0
            for text in texts {
                pointers.append(buffer.baseAddress.map { $0 + offset })
                offset += text.count
            }
            pointers.append(nil)
            // The array has at least its null pointer, so the buffer has a base.
            return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
        }
    }
}
