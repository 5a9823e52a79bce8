// Reads outputs as their users do: XML by a parser, not by patterns.

import ClusterModel
import Foundation
import FoundationXML

struct OutputReader {
    struct Word: Decodable {
        let text: String
        let confidence: Double
        let box: [Int]
        let line: Int
        let block: Int
    }

    struct NotWellFormed: Error {
        let line: Int
        let text: String
    }

    let bodies: [Profile.Output: String]

    init(_ bodies: [Profile.Output: String]) { self.bodies = bodies }

    /// The pages' parts in a document, as an export writes it.
    var hocrFile: String {
        """
        <?xml version="1.0" encoding="UTF-8"?>
        <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
        "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
        <html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en"><head><title></title>
        <meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
        <meta name='ocr-system' content='tesseract' />
        <meta name='ocr-capabilities' content='ocr_page ocr_carea ocr_par ocr_line ocrx_word'/>
        </head><body>
        \(bodies[.hocr] ?? "")</body></html>
        """
    }

    var altoFile: String {
        """
        <?xml version="1.0" encoding="UTF-8"?>
        <alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout>
        \(bodies[.alto] ?? "")</Layout></alto>
        """
    }

    /// Texts of the words of each page.
    func hocrPages() throws -> [[String]] {
        try pages(hocrFile, isPage: { $1["class"] == "ocr_page" }, isWord: { $1["class"] == "ocrx_word" }) { $1 }
    }

    func altoPages() throws -> [[String]] {
        try pages(altoFile, isPage: { name, _ in name == "Page" }, isWord: { name, _ in name == "String" }) {
            attributes, _ in attributes["CONTENT"] ?? ""
        }
    }

    private func pages(
        _ xml: String, isPage: @escaping (String, [String: String]) -> Bool,
        isWord: @escaping (String, [String: String]) -> Bool,
        text: @escaping (_ attributes: [String: String], _ content: String) -> String
    ) throws -> [[String]] {
        let visitor = Visitor(isPage, isWord, text)
        let parser = XMLParser(data: Data(xml.utf8))
        parser.delegate = visitor
        guard parser.parse() else {
            throw NotWellFormed(line: parser.lineNumber, text: parser.parserError.map { "\($0)" } ?? "")
        }
        return visitor.pages
    }

    func tsvPages() -> [[String]] {
        var pages: [[String]] = []
        for line in (bodies[.tsv] ?? "").split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            if fields.first == "1" { pages.append([]) }
            if fields.first == "5", fields.count == 12 { pages[pages.count - 1].append(String(fields[11])) }
        }
        return pages
    }

    func wordPages() throws -> [[Word]] {
        try (bodies[.words] ?? "").split(separator: "\n").map {
            try JSONDecoder().decode([Word].self, from: Data($0.utf8))
        }
    }

    private final class Visitor: NSObject, XMLParserDelegate {
        var pages: [[String]] = []
        private let isPage, isWord: (String, [String: String]) -> Bool
        private let text: ([String: String], String) -> String
        /// Elements inside of a word, itself included; 0 outside.
        private var depth = 0
        private var attributes: [String: String] = [:]
        private var content = ""

        init(
            _ isPage: @escaping (String, [String: String]) -> Bool,
            _ isWord: @escaping (String, [String: String]) -> Bool,
            _ text: @escaping ([String: String], String) -> String
        ) {
            (self.isPage, self.isWord, self.text) = (isPage, isWord, text)
        }

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) {
            if isPage(name, attributes) { pages.append([]) }
            if depth > 0 {
                depth += 1
            } else if isWord(name, attributes) {
                (depth, content, self.attributes) = (1, "", attributes)
            }
        }

        func parser(_ parser: XMLParser, foundCharacters text: String) {
            if depth > 0 { content += text }
        }

        func parser(
            _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
        ) {
            guard depth > 0 else { return }
            depth -= 1
            if depth == 0 { pages[pages.count - 1].append(text(attributes, content)) }
        }
    }
}
