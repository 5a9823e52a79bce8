// `node watch`: shows and stops what fills batches by itself.

import ArgumentParser
import Foundation
internal import Results
internal import Wire

/// `node watch`.
package struct WatchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Lists and stops watches; `node submit --watch` starts them.",
        subcommands: [WatchListCommand.self, WatchStopCommand.self])

    package init() {}
}

/// `node watch ls`.
package struct WatchListCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "Lists watches: who runs them, what came, what keeps them from working.",
        discussion: "Example: node watch ls --batch letters")

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch; all when left out.", valueName: "name"))
    package var batch: String?

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func run() async throws {
        try await runCommand {
            var request = Ocr_V1_WatchesRequest()
            if let batch { request.batch = batch }
            let wanted = request
            let watches = try await client.withNode { try await $0.watches(wanted).watches }
            if json {
                Output.resultLine(JSONValue.object([("watches", .array(watches.map(WatchText.json)))]).line)
            } else if watches.isEmpty {
                Output.message("there are no watches; begin one with `node submit --watch`")
            } else {
                for line in WatchText.lines(watches) { Output.resultLine(line) }
            }
            return 0
        }
    }
}

/// `node watch stop`.
package struct WatchStopCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Stops watches; what they have submitted stays.",
        discussion: "Example: node watch stop 3fa9c1")

    @OptionGroup package var client: ClientOptions

    @Argument(help: ArgumentHelp("Ids of watches, or unique beginnings of them.", valueName: "id"))
    package var ids: [String] = []

    @Option(help: ArgumentHelp("All watches of a batch.", valueName: "name"))
    package var batch: String?

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if ids.isEmpty == (batch == nil) { throw ValidationError("Name ids of watches, or a --batch.") }
    }

    package func run() async throws {
        try await runCommand {
            var request = Ocr_V1_StopWatchesRequest()
            request.ids = ids
            if let batch { request.batch = batch }
            let wanted = request
            let stopped = try await client.withNode { try await $0.stopWatches(wanted).watches }
            if json {
                Output.resultLine(JSONValue.object([("stopped", .array(stopped.map { .text($0.id) }))]).line)
            } else {
                for watch in stopped {
                    Output.resultLine("watch \(watch.id.prefix(8)) of \(SourceText.text(watch.source)) is stopped")
                }
                if stopped.isEmpty { Output.message("none of them was running") }
            }
            return 0
        }
    }
}

/// Watches as people and programs read them.
enum WatchText {
    static func lines(_ watches: [Ocr_V1_WatchDetail]) -> [String] {
        var table = TextTable([
            .text("WATCH"), .text("BATCH"), .text("STATE"), .text("NODE"), .number("NEW"), .number("KNOWN"),
            .number("WAITING"), .text("LOOKED"), .text("SOURCE"),
        ])
        var remarks: [String] = []
        for watch in watches {
            let progress = watch.hasProgress ? watch.progress : nil
            let look = progress.flatMap { $0.hasLastLookSecondsAgo ? $0.lastLookSecondsAgo : nil }
            table.add([
                String(watch.id.prefix(8)), HumanText.printable(watch.batch), state(watch),
                watch.hasRunner ? HumanText.printable(watch.runner) : "-",
                HumanText.count(progress.map { $0.newCount + $0.changedCount }),
                HumanText.count(progress?.knownCount), HumanText.count(progress?.unsettled),
                look.map { "\(HumanText.duration($0)) ago" } ?? "-",
                HumanText.printable(SourceText.text(watch.source)),
            ])
            for text in texts(watch) { remarks.append("\(watch.id.prefix(8)): \(HumanText.printable(text))") }
        }
        return table.lines + (remarks.isEmpty ? [] : [""] + remarks)
    }

    private static func state(_ watch: Ocr_V1_WatchDetail) -> String {
        if !watch.running { return "stopped" }
        if !watch.hasRunner { return "waiting" }
        return watch.hasProgress && !watch.progress.error.isEmpty ? "failing" : "running"
    }

    /// What is wrong, in sentences.
    static func texts(_ watch: Ocr_V1_WatchDetail) -> [String] {
        var texts = [watch.reason, watch.progress.error, watch.progress.note]
        if watch.progress.skippedCount > 0 {
            texts.append(
                "\(HumanText.count(watch.progress.skippedCount)) refused, the last one "
                    + watch.progress.skippedReason)
        }
        return texts.filter { !$0.isEmpty }
    }

    static func json(_ watch: Ocr_V1_WatchDetail) -> JSONValue {
        let progress = watch.progress
        let isKnown = watch.hasProgress
        return .object([
            ("id", .text(watch.id)), ("batch", .text(watch.batch)), ("source", .text(SourceText.text(watch.source))),
            ("state", .text(state(watch))), ("node", .known(watch.hasRunner, watch.runner)),
            ("origin", .text(watch.origin)), ("language", .text(watch.language)),
            ("language_for", .array(watch.languageRules.map { .text(String(decoding: $0, as: UTF8.self)) })),
            ("priority", .double(Double(watch.priority))),
            ("interval_seconds", .unsigned(UInt64(watch.intervalSeconds))),
            ("queue", .known(!watch.queueURL.isEmpty, watch.queueURL)),
            ("created", .text(Date(timeIntervalSince1970: Double(watch.createdSeconds)).formatted(.iso8601))),
            ("looks", .known(isKnown, progress.looks)),
            ("last_look_seconds_ago", .known(progress.hasLastLookSecondsAgo, progress.lastLookSecondsAgo)),
            ("new", .known(isKnown, progress.newCount)), ("changed", .known(isKnown, progress.changedCount)),
            ("known", .known(isKnown, progress.knownCount)), ("skipped", .known(isKnown, progress.skippedCount)),
            ("unsettled", .known(isKnown, progress.unsettled)), ("messages", .known(isKnown, progress.messageCount)),
            ("error", .known(!watch.reason.isEmpty || !progress.error.isEmpty, error(watch))),
            ("note", .known(!progress.note.isEmpty, progress.note)),
        ])
    }

    private static func error(_ watch: Ocr_V1_WatchDetail) -> String {
        watch.reason.isEmpty ? watch.progress.error : watch.reason
    }
}
