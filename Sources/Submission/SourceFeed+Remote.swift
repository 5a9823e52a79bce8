// Sources that are in stores and on web servers.

internal import ClusterModel

extension SourceFeed {
    /// Why a URL cannot be submitted, nil when it can.
    static func complaint(aboutURL source: SourceReference) -> String? {
        switch source.remoteScheme {
        case .s3:
            let rest = source.bytes.dropFirst(RemoteScheme.s3.prefix.utf8.count)
            return rest.first == RawPath.slash ? "no bucket: s3://bucket/prefix is expected" : nil
        case .http, .https:
            let rest = source.bytes.dropFirst(source.remoteScheme?.prefix.utf8.count ?? 0)
            return rest.first == RawPath.slash ? "no host: http://host/path is expected" : nil
        case nil: return nil
        }
    }

    /// Gives out one object or file, which is not looked at.
    func giveRemote(
        _ source: SourceReference, language: String?, priority: Int?, _ body: (FeedItem) -> Bool
    ) -> Bool {
        func skip(_ reason: String) -> Bool { body(.skipped(source: source, reason: reason)) }
        if let complaint = Self.complaint(aboutURL: source) { return skip(complaint) }
        guard source.bytes.count <= Limits.sourceByteCount else {
            return skip("longer than \(Limits.sourceByteCount) bytes")
        }
        if source.bytes.contains(0) { return skip("a name cannot hold a NUL byte") }
        if source.remoteScheme == .s3 {
            let key = source.bytes.dropFirst(RemoteScheme.s3.prefix.utf8.count).drop { $0 != RawPath.slash }.dropFirst()
            if key.isEmpty || key.last == RawPath.slash {
                return skip("names no object; name the prefix as a SOURCE to submit all below it")
            }
        }
        return body(.entry(entry(source.bytes, nil, language: language, priority: priority)))
    }

    /// Gives out the objects below prefixes. One that is named as it is is taken whatever its name ends with; of the others,
    /// those that are named like images.
    /// - Returns: false if `body` ended it.
    func list(_ prefixes: [SourceReference], _ body: (FeedItem) -> Bool) throws(SubmissionError) -> Bool {
        var goesOn = true
        var hasObjects = prefixes.map { _ in false }
        try remotes.list(prefixes) { object, index in
            hasObjects[index] = true
            let bytes = object.source.bytes
            // A marker that consoles make for a folder.
            if bytes.last == RawPath.slash { return true }
            if object.source != prefixes[index] {
                guard ImageSniff.hasImageExtension(RawPath.name(of: bytes)) else {
                    goesOn = body(.skipped(source: object.source, reason: "not named like an image"))
                    return goesOn
                }
            }
            goesOn = body(.entry(entry(bytes, object.fingerprint, language: nil, priority: nil)))
            return goesOn
        }
        guard goesOn else { return false }
        for (prefix, found) in zip(prefixes, hasObjects) where !found {
            guard body(.skipped(source: prefix, reason: "no object's key begins so")) else { return false }
        }
        return true
    }

    /// Gives out the objects of an inventory, data file by data file.
    func read(_ inventory: Inventory, _ body: (FeedItem) -> Bool) throws(SubmissionError) {
        for file in inventory.files {
            let name = file.text
            var source = try remotes.bytes(of: file)
            if file.bytes.suffix(3).elementsEqual(".gz".utf8) { source = try .gunzip(source, name: name) }
            var reader = CSVReader()
            func take(_ row: CSVReader.Row, _ line: Int) throws(SubmissionError) -> Bool {
                switch inventory.entry(row, place: "\(name) line \(line)") {
                case nil: return true
                case .skipped(let source, let reason): return body(.skipped(source: source, reason: reason))
                case .object(let source, let fingerprint):
                    guard ImageSniff.hasImageExtension(RawPath.name(of: source.bytes)) else {
                        return body(.skipped(source: source, reason: "not named like an image"))
                    }
                    guard source.bytes.count <= Limits.sourceByteCount, !source.bytes.contains(0) else {
                        return body(.skipped(source: source, reason: "no name of an object"))
                    }
                    return body(.entry(entry(source.bytes, fingerprint, language: nil, priority: nil)))
                }
            }
            while true {
                let piece = try source.read()
                if piece.isEmpty { break }
                guard try reader.feed(piece, body: take) else { return }
            }
            guard try reader.finish(body: take) else { return }
        }
    }
}
