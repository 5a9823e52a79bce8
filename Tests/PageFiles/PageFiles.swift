// Files of many pages, made to order: each page says its number, by its text or by its height.

/// Small PDFs, written by hand.
package enum PDFBuilder {
    private static let words = "the quick brown fox jumps over a lazy dog while seven wizards mix strong potions"
        .split(separator: " ").map(String.init)

    /// A document of text in Helvetica, which it does not bring along.
    ///
    /// - Parameters:
    ///   - pageCount: 0 or more.
    ///   - lineCount: lines of a page besides the one with its number.
    ///   - mediaBox: of every page, in points.
    ///   - isScrambled: says of itself that it is encrypted with a password that nobody knows.
    package static func text(
        pageCount: Int, lineCount: Int = 2, mediaBox: String = "0 0 300 120", extra: String = "",
        isScrambled: Bool = false
    ) -> [UInt8] {
        var objects = [
            "<< /Type /Catalog /Pages 2 0 R \(extra) >>", "",
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
        var kids: [String] = []
        for number in stride(from: 1, through: pageCount, by: 1) {
            var content = "BT /F1 16 Tf 12 90 Td 22 TL (\(line(number))) Tj T* "
            for row in 0..<lineCount {
                let text = (0..<5).map { words[(number * 7 + row * 5 + $0 * 3) % words.count] }
                content += "(\(text.joined(separator: " "))) Tj T* "
            }
            content += "ET"
            objects.append("<< /Length \(content.utf8.count) >>\nstream\n\(content)\nendstream")
            objects.append(
                "<< /Type /Page /Parent 2 0 R /MediaBox [\(mediaBox)] /Contents \(objects.count) 0 R"
                    + " /Resources << /Font << /F1 3 0 R >> >> >>")
            kids.append("\(objects.count) 0 R")
        }
        objects[1] = "<< /Type /Pages /Count \(pageCount) /Kids [\(kids.joined(separator: " "))] >>"
        var trailer = ""
        if isScrambled {
            let key = String(repeating: "5A", count: 32)
            objects.append("<< /Filter /Standard /V 1 /R 2 /O <\(key)> /U <\(key)> /P -4 >>")
            trailer = "/Encrypt \(objects.count) 0 R /ID [<00112233445566778899AABBCCDDEEFF> <00>]"
        }
        return document(objects, trailer: trailer)
    }

    /// What the page of that number says in its first line.
    package static func line(_ number: Int) -> String { "Page number \(number) of the document" }

    /// A document of these objects, numbered from 1; the first one is the catalogue.
    package static func document(_ objects: [String], trailer: String = "") -> [UInt8] {
        var bytes = Array("%PDF-1.4\n".utf8)
        var table = "xref\n0 \(objects.count + 1)\n0000000000 65535 f \n"
        for (index, object) in objects.enumerated() {
            let offset = String(bytes.count)
            table += String(repeating: "0", count: 10 - offset.count) + offset + " 00000 n \n"
            bytes += Array("\(index + 1) 0 obj\n\(object)\nendobj\n".utf8)
        }
        let start = bytes.count
        bytes += Array(table.utf8)
        bytes += Array(
            "trailer << /Size \(objects.count + 1) /Root 1 0 R \(trailer) >>\nstartxref\n\(start)\n%%EOF\n".utf8)
        return bytes
    }
}

/// TIFFs whose pages are strips of the pages of another TIFF.
package enum TIFFRepeater {
    /// Appends directories to a little-endian classic TIFF of bilevel pages in one strip each, so that it has `pageCount`
    /// pages: those that it has, in turns, each cut to `height` rows and one more for each page before it.
    package static func file(from original: [UInt8], pageCount: Int, height: Int) -> [UInt8] {
        var bytes = original
        func number(_ offset: Int, _ size: Int) -> Int {
            (0..<size).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
        func put(_ value: Int, _ size: Int, at offset: Int) {
            for index in 0..<size { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
        }
        var directories: [ArraySlice<UInt8>] = []
        var next = number(4, 4)
        while next != 0 {
            let end = next + 2 + 12 * number(next, 2)
            directories.append(bytes[next..<(end + 4)])
            next = number(end, 4)
        }
        var pointer = 4
        for page in 0..<pageCount {
            let directory = directories[page % directories.count]
            if bytes.count % 2 == 1 { bytes.append(0) }
            let start = bytes.count
            bytes += directory
            put(start, 4, at: pointer)
            pointer = bytes.count - 4
            put(0, 4, at: pointer)
            for entry in stride(from: start + 2, to: pointer, by: 12) where number(entry, 2) == 257 {
                put(height + page, 4, at: entry + 8)
                put(4, 2, at: entry + 2)
            }
        }
        return bytes
    }
}
