// `node submit --watch`: starts watches and returns after their first look; reads standard input until its end.

internal import ClusterModel
import Foundation
internal import Results
internal import Submission
internal import Wire

extension SubmitCommand {
    /// How long the first look is waited for; a large folder takes longer, and goes on without the command.
    private static let firstLookPatience = Duration.seconds(10)
    private static let lookInterval = Duration.milliseconds(100)

    func runWatch(_ arguments: RawArguments, _ rules: LanguageRules) async throws -> Int32 {
        let given = arguments.bytes(of: sources)
        let readsInput = given.contains([UInt8(ascii: "-")])
        var request = Ocr_V1_StartWatchesRequest()
        request.header = header(rules)
        request.sources = try given.filter { $0 != [UInt8(ascii: "-")] }.map { Data(try SourceFeed.absolute($0)) }
        request.languageRules = rules.sources.map { Data($0) }
        request.intervalSeconds = interval.map { UInt32(clamping: $0.milliseconds / 1_000) } ?? 0
        request.queueURL = queue ?? ""
        let wanted = request
        return try await client.withNode { admin in
            var header = wanted.header
            if !wanted.sources.isEmpty {
                let watches = try await Self.firstLook(
                    of: try await admin.startWatches(wanted).watches, wanted, admin)
                header.batch = watches.first?.batch ?? header.batch
                report(watches, isFinal: !readsInput)
            }
            guard readsInput else { return 0 }
            let feed = try SourceFeed(
                sources: [[UInt8(ascii: "-")]], manifest: nil, isNullSeparated: isNullSeparated, rules: rules,
                remotes: ConfiguredListing(client))
            let session = SubmissionSession(header: header, feed: feed, showsProgress: !json, isLive: true)
            return try end(try await session.run(admin))
        }
    }

    /// The watches after the first complete look of each, or when that takes long or fails.
    private static func firstLook(
        of started: [Ocr_V1_WatchDetail], _ request: Ocr_V1_StartWatchesRequest, _ admin: AdminClient
    ) async throws -> [Ocr_V1_WatchDetail] {
        guard let batch = started.first?.batch else { return started }
        let ids = started.map(\.id)
        var list = Ocr_V1_WatchesRequest()
        list.batch = batch
        var latest = started
        let end = ContinuousClock.now + firstLookPatience
        while latest.contains(where: { !$0.hasProgress || ($0.progress.looks == 0 && $0.progress.error.isEmpty) }),
            ContinuousClock.now < end
        {
            try await Task.sleep(for: lookInterval)
            latest = try await admin.watches(list).watches.filter { ids.contains($0.id) }
        }
        return latest
    }

    private func report(_ watches: [Ocr_V1_WatchDetail], isFinal: Bool) {
        let new = watches.reduce(0) { $0 + $1.progress.newCount }
        let changed = watches.reduce(0) { $0 + $1.progress.changedCount }
        let known = watches.reduce(0) { $0 + $1.progress.knownCount }
        let batch = watches.first?.batch ?? ""
        if json {
            // With standard input the document of its end is the one; this says meanwhile what runs.
            let document = JSONValue.object([
                ("batch", .text(batch)), ("submitted", .unsigned(new + changed)), ("new", .unsigned(new)),
                ("known", .unsigned(known)), ("changed", .unsigned(changed)), ("skipped", .array([])),
                ("watches", .array(watches.map(WatchText.json))),
            ])
            return isFinal ? Output.resultLine(document.line) : Output.message(document.line)
        }
        Output.resultLine(
            "batch \(HumanText.printable(batch)): \(HumanText.count(new + changed)) submitted "
                + "(\(HumanText.count(new)) new, \(HumanText.count(changed)) changed), "
                + "\(HumanText.count(known)) known before")
        for watch in watches {
            let node = watch.hasRunner ? " on \(HumanText.printable(watch.runner))" : ""
            let isLooking = watch.progress.looks == 0 ? "; its first look goes on" : ""
            Output.resultLine(
                "watch \(watch.id.prefix(8)) of \(HumanText.printable(SourceText.text(watch.source))) runs\(node)"
                    + isLooking)
            for text in WatchText.texts(watch) { Output.message("note: \(HumanText.printable(text))") }
        }
    }
}
