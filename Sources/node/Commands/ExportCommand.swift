import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Submission
internal import Wire

/// `node export`.
package struct ExportCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Writes the results of a batch, every job once, in source order.",
        discussion: """
            Formats: jsonl and csv (a job a line), opensearch (the body of _bulk, a page a document), dolma (a source a \
            document), sqlite (with a full-text index); text, hocr, alto, tsv and pdf are folders with a file for each \
            source. Beside a file stand FILE.manifest.json and FILE.failures.jsonl, inside of a folder manifest.json and \
            failures.jsonl: counts, digests, versions, and what failed, ready for submit --manifest.

            Never quietly partial: while jobs are pending nothing is written and the exit code is 2; if some failed or \
            were cancelled, their lines say so and the exit code is 2. --partial accepts both.

            An export that was interrupted goes on where it was when the same command is repeated; a finished one that \
            is repeated writes the same bytes.

            Example: node export --batch letters --format csv -o letters.csv
            """)

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch.", valueName: "name"))
    package var batch: String

    @Option(
        help: ArgumentHelp(
            "jsonl, csv, opensearch, dolma, sqlite; folders: text, hocr, alto, tsv, pdf.", valueName: "format"))
    package var format: String = "jsonl"

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Where to: a path or s3://bucket/key; standard output where it is left out. NAME.zst is compressed, a "
                + "folder NAME.tar is one archive.", valueName: "path"))
    package var output: String?

    @Option(help: ArgumentHelp("zstd; goes without saying for a path that ends in .zst.", valueName: "method"))
    package var compress: String?

    @Option(help: ArgumentHelp("OpenSearch's index (default: the batch's name, made valid).", valueName: "name"))
    package var index: String?

    @Option(help: ArgumentHelp("Where the manifest of an export to standard output goes.", valueName: "file"))
    package var manifest: String?

    @Option(help: ArgumentHelp("Where the failures of an export to standard output go.", valueName: "file"))
    package var failures: String?

    @Flag(help: "To s3://: an object for each file of a folder instead of one tar.")
    package var unpacked = false

    @Flag(help: "Accept an export that lacks jobs.")
    package var partial = false

    package init() {}

    package func validate() throws {
        guard let format = ExportFormat(rawValue: format) else {
            let names = ExportFormat.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("'\(format)' is no format; there are \(names).")
        }
        if let compress, compress != "zstd" { throw ValidationError("'\(compress)' is no compression; there is zstd.") }
        if compress != nil, format == .sqlite { throw ValidationError("A database is not compressed.") }
        if unpacked, format.tree == nil || !(output?.hasPrefix("s3://") ?? false) {
            throw ValidationError("--unpacked is for a folder that goes to s3://.")
        }
        if index != nil, format != .opensearch { throw ValidationError("--index is for --format opensearch.") }
        if let index, index != ExportFormat.indexName(index) {
            throw ValidationError(
                "'\(index)' is no name of an index; it would have to be '\(ExportFormat.indexName(index))'.")
        }
    }

    package func run() async throws {
        try await runCommand {
            let plan = try plan()
            let missing: UInt64
            if let output, output.hasPrefix("s3://") {
                missing = try await upload(plan, to: output)
            } else {
                missing = try await transfer(plan)
            }
            return missing > 0 && !partial ? 2 : 0
        }
    }

    /// What the options ask for. Throws bad usage for what does not go together.
    func plan() throws -> ExportPlan {
        // `validate` has looked at it.
        guard let format = ExportFormat(rawValue: format) else { throw CommandFailure("no format", exitCode: 64) }
        let arguments = RawArguments.process
        let isRemote = output?.hasPrefix("s3://") ?? false
        let path = output.flatMap { $0 == "-" || isRemote ? nil : arguments.bytes(of: $0) }
        if path == nil, !isRemote, !format.isStream {
            throw CommandFailure("the format \(format.rawValue) needs a place", hint: "add -o PATH", exitCode: 64)
        }
        if path != nil || isRemote, manifest != nil || failures != nil {
            throw CommandFailure(
                "--manifest and --failures are for an export to standard output",
                hint: "others have both beside them, or inside of their folder", exitCode: 64)
        }
        let name = output ?? ""
        var plan = ExportPlan(format: format, path: path)
        plan.isCompressed = compress == "zstd" || (name.hasSuffix(".zst") && format != .sqlite)
        let isArchive = name.hasSuffix(".tar") || name.hasSuffix(".tar.zst") || isRemote
        plan.isPacked = format.tree != nil && isArchive && !unpacked
        if plan.isCompressed, format.tree != nil, !plan.isPacked {
            throw CommandFailure(
                "a folder is not compressed", hint: "an archive is: -o \(name.isEmpty ? "NAME" : name).tar.zst",
                exitCode: 64)
        }
        plan.index = index
        plan.manifestPath = manifest.map { arguments.bytes(of: $0) }
        plan.failuresPath = failures.map { arguments.bytes(of: $0) }
        plan.isResumable = !partial
        return plan
    }
}
