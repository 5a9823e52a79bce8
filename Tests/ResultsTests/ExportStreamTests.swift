import ClusterModel
import Foundation
import Results
import Testing

@Suite struct ExportStreamTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test func `the counts of a manifest add up, and its digests are those of the files`() throws {
        let records = ExportSamples.records(40)
        for format in [ExportFormat.jsonl, .sqlite, .opensearch] {
            _ = try scratch.export(format, "x", records)
            let sums = try scratch.output(
                "jq -c '[.counts.done + .counts.reused + .counts.failed + .counts.cancelled == .counts.total, "
                    + ".counts.total, .sources, .complete]' x.manifest.json")
            #expect(sums == "[true,54,40,true]\n")
            let check = try scratch.output(
                #"jq -r '.files[] | "\(.sha256)  \(.name)"' x.manifest.json | sha256sum -c | wc -l"#)
            #expect(check == "2\n")
            #expect(
                try scratch.output("jq -r '.files[0].bytes' x.manifest.json; stat -c %s x").split(separator: "\n")
                    .reduce(into: Set()) { $0.insert($1) }.count == 1)
        }
        _ = try scratch.export(.text, "tree", records)
        #expect(
            try scratch.output(
                "cd tree && jq -r '\"\\(.file_sha256)  \\(.file)\"' index.jsonl | grep -v ^null | sha256sum -c | wc -l")
                == "47\n")
        #expect(
            try scratch.output(
                "cd tree && jq -r '.files[] | \"\\(.sha256)  \\(.name)\"' manifest.json | sha256sum -c | wc -l")
                == "2\n")
    }

    @Test func `failures are a manifest, a line a source`() throws {
        var records = ExportSamples.records(14)
        records[1].outcome = "failed"
        records[1].result = nil
        var odd = records[9]
        odd.source = SourceReference(bytes: [0x2F, 0xFF, 0x0A])
        odd.outcome = "failed"
        odd.result = nil
        odd.reason = "undecodable: \"no\""
        _ = try scratch.export(.csv, "x.csv", records + [odd])
        let lines = try scratch.output("jq -c '[.source, .language, .reason]' x.csv.failures.jsonl").split(
            separator: "\n")
        #expect(
            lines == [
                #"["/scans/000/1000000.tif","eng","failed"]"#, #"["/scans/006/1000006.tif","eng","undecodable: no"]"#,
                #"["/scans/013/1000013.tif","deu","cancelled"]"#,
                #"["file:///%FF%0A","\#(odd.language)","undecodable: \"no\""]"#,
            ])
    }

    @Test func `an export for OpenSearch has an action and a document for each page`() throws {
        _ = try scratch.export(.opensearch, "x.ndjson", ExportSamples.records(14))
        let lines = try scratch.text(scratch.full("x.ndjson")).split(separator: "\n")
        #expect(lines.count == 2 * 16)
        #expect(lines[0] == #"{"index":{"_index":"b","_id":"1000000\#(String(repeating: "0", count: 25))-1"}}"#)
        #expect(lines[2].hasSuffix(#"1-5"}}"#))
        let pages = try scratch.output(
            "jq -c 'select(.text) | [.source, .page, .pages]' x.ndjson | head -2")
        #expect(pages == "[\"/scans/000/1000000.tif\",1,2]\n[\"/scans/000/1000000.tif\",5,2]\n")
        #expect(ExportFormat.indexName("Briefe 1890/91*") == "briefe-1890-91-")
        #expect(ExportFormat.indexName("-_+") == "batch")
        #expect(ExportFormat.indexName(String(repeating: "ä", count: 200)).utf8.count == 254)
    }

    @Test func `a document for training is a source, whatever its parts`() throws {
        var records = ExportSamples.records(5)
        records[0].result = nil
        records[0].outcome = "failed"
        _ = try scratch.export(.dolma, "x.jsonl", records)
        let rows = try scratch.output(
            "jq -c '[(keys_unsorted | join(\",\")), .text, .metadata.path, .metadata.missing_parts, .added]' x.jsonl")
        let keys = "id,text,source,added,created,metadata"
        #expect(
            rows.split(separator: "\n").map(String.init) == [
                #"["\#(keys)","one two three 0 1\n","/scans/000/1000000.tif",1,"2023-11-14T22:13:20.000Z"]"#,
                #"["\#(keys)","one two three 1 0\n","/scans/001/1000001.tif",0,"2023-11-14T22:13:20.000Z"]"#,
                #"["\#(keys)","one two three 2 0\n","/scans/002/1000002.tif",0,"2023-11-14T22:13:20.000Z"]"#,
                #"["\#(keys)","one two three 3 0\n\fone two three 3 1\n","/scans/003/1000003.tif",0,"2023-11-14T22:13:20.000Z"]"#,
                #"["\#(keys)","one two three 4 0\n","/scans/004/1000004.tif",0,"2023-11-14T22:13:20.000Z"]"#,
            ])
    }

    @Test func `what is compressed is what is not`() throws {
        let records = ExportSamples.records(280, text: String(repeating: "word ", count: 8_000))
        for format in [ExportFormat.jsonl, .csv] {
            _ = try scratch.export(format, "x", records)
            _ = try scratch.export(format, "x.zst", records, compressed: true)
            #expect(try scratch.output("zstd -qdc x.zst | cmp - x && echo same") == "same\n")
            // Frames end where an export can go on.
            #expect(try scratch.output("zstd -lv x.zst 2>/dev/null | grep -c 'Frames: [2-9]'") == "1\n")
        }
        _ = try scratch.export(.jsonl, "none.zst", [], compressed: true)
        #expect(try scratch.output("zstd -qdc none.zst | wc -c") == "0\n")
    }

    @Test func `the same rows give the same bytes, whatever the format`() throws {
        let records = ExportSamples.records(200)
        for format in ExportFormat.allCases where format != .pdf {
            _ = try scratch.export(format, "a", records)
            _ = try scratch.output("mkdir -p kept && mv a* kept")
            _ = try scratch.export(format, "a", records)
            #expect(try scratch.output("for f in a*; do diff -r $f kept/$f; done; rm -r a* kept") == "", "\(format)")
        }
    }

    @Test(arguments: ExportFormat.allCases, [false, true])
    func `an export that goes on ends with the bytes of one that was not interrupted`(
        format: ExportFormat, compressed: Bool
    ) throws {
        guard !compressed || format.tree == nil && format != .sqlite else { return }
        // Each has a checkpoint behind 8 MiB; trees behind 1,024 files, databases behind 4,096 rows as well.
        let isWide = format.tree == nil && format != .sqlite
        let count = isWide ? 1_200 : format == .sqlite ? 4_000 : 1_500
        let records = ExportSamples.records(count, text: isWide ? String(repeating: "word ", count: 1_800) : "few")
        _ = try scratch.export(format, "whole", records, compressed: compressed)
        let plan = scratch.plan(format, "cut", compressed: compressed)
        // Killed at some row: what was not synced may be there or not.
        let interrupted = try ExportRun(plan, ExportSamples.facts)
        for record in records.prefix(records.count * 9 / 10) { try interrupted.write(record) }
        #expect(interrupted.suspend())
        let state = try #require(ExportState.load(plan))
        #expect(state.tally.total > 100 && state.tally.total < records.count * 9 / 10 + 1)
        #expect(records[state.tally.total - 1].job == state.job)
        let resumed = try ExportRun(plan, ExportSamples.facts, resuming: state)
        for record in records.dropFirst(state.tally.total) { try resumed.write(record) }
        try resumed.finish()
        #expect(resumed.tally.total == records.count)
        #expect(
            try scratch.output(
                "diff -r cut whole && { [ -d cut ] || diff cut.failures.jsonl whole.failures.jsonl; } && echo same")
                == "same\n")
        #expect(try scratch.output("ls | grep -c partial || true") == "0\n")
        #expect(ExportState.load(plan) == nil)
    }

    @Test func `an export that may be partial is not gone on with`() throws {
        var plan = scratch.plan(.jsonl, "x")
        plan.isResumable = false
        let run = try ExportRun(plan, ExportSamples.facts)
        for record in ExportSamples.records(200, text: String(repeating: "word ", count: 16_000)) {
            try run.write(record)
        }
        #expect(!run.suspend())
        #expect(try scratch.names() == [])
    }
}
