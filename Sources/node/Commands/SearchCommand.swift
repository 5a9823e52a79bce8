import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Wire

/// `node search`.
package struct SearchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "search", abstract: "Searches the recognised texts.",
        discussion: "Exit code 1 when nothing is found.\n\nExample: node search 'invoice AND 2019'")

    @OptionGroup package var client: ClientOptions

    @Argument(help: ArgumentHelp("Words; AND, OR, NOT, \"a phrase\", prefix*.", valueName: "query"))
    package var query: [String]

    @Option(help: ArgumentHelp("Only this batch.", valueName: "name"))
    package var batch: String?

    @Option(help: ArgumentHelp("Most hits.", valueName: "n"))
    package var limit: UInt32 = 50

    @Flag(help: "Write JSON Lines.")
    package var json = false

    package init() {}

    package func validate() throws {
        if limit == 0 { throw ValidationError("--limit is at least 1.") }
    }

    package func run() async throws {
        try await runCommand {
            let isColored = Terminal.isInteractive(STDOUT_FILENO) && (RawEnvironment.value("NO_COLOR")?.isEmpty ?? true)
            let count = try await client.withNode { admin in
                var request = Ocr_V1_SearchRequest()
                request.query = query.joined(separator: " ")
                if let batch { request.batch = batch }
                request.limit = limit
                return try await admin.search(request) { response in
                    var count = 0
                    for try await hit in response.messages {
                        count += 1
                        Output.resultLine(json ? document(hit).line : line(hit, isColored: isColored))
                    }
                    return count
                }
            }
            return count > 0 ? 0 : 1
        }
    }

    private func line(_ hit: Ocr_V1_SearchHit, isColored: Bool) -> String {
        let source = HumanText.printable(SourceText.text(hit.source)) + (hit.hasPage ? " page \(hit.page)" : "")
        return
            "\(source): \(marked(hit.snippet, begin: isColored ? "\u{1B}[1m" : "[", end: isColored ? "\u{1B}[0m" : "]"))"
    }

    /// The snippet on one line, its matches marked.
    private func marked(_ snippet: String, begin: String, end: String) -> String {
        snippet.map { character -> String in
            switch character {
            case "\u{2}": begin
            case "\u{3}": end
            default: character.isWhitespace ? " " : HumanText.printable(String(character))
            }
        }.joined()
    }

    private func document(_ hit: Ocr_V1_SearchHit) -> JSONValue {
        .object([
            ("job", .text(hit.job)), ("source", .text(SourceText.text(hit.source))), ("batch", .text(hit.batch)),
            ("page", .known(hit.hasPage, UInt64(hit.page))),
            ("snippet", .text(marked(hit.snippet, begin: "[", end: "]"))),
        ])
    }
}
