// All that a submission names (arguments, standard input, a manifest) as one stream of entries.

package import ClusterModel
internal import Glibc

/// A file to submit.
package struct SourceEntry: Hashable, Sendable {
    /// An absolute path, or a URL that every node reads.
    package let source: SourceReference
    package let language: String?
    package let priority: Int?
    /// Nil where the source was not looked at.
    package let fingerprint: SourceFingerprint?

    package init(source: SourceReference, language: String?, priority: Int?, fingerprint: SourceFingerprint?) {
        self.source = source
        self.language = language
        self.priority = priority
        self.fingerprint = fingerprint
    }
}

/// What a feed gives out.
package enum FeedItem: Hashable, Sendable {
    case entry(SourceEntry)
    /// `source` may be a place ("list.csv line 7") when the source itself is unknown.
    case skipped(source: SourceReference, reason: String)
}

/// Where the entries of a submission come from. Memory does not grow with their number.
package struct SourceFeed: Sendable {
    /// Sources as bytes; "-" is standard input.
    package var sources: [[UInt8]]
    /// Path or URL of the manifest.
    package var manifest: [UInt8]?
    /// Whether names on standard input end with NUL rather than with a line end.
    package var isNullSeparated: Bool
    package var rules: LanguageRules
    let remotes: any RemoteListing
    /// Absolute folder that relative sources start from.
    private let base: [UInt8]

    /// Longest name on standard input: that of the longest source, each byte percent-encoded.
    private static let lineByteLimit = Limits.sourceByteCount * 3 + 16

    /// - Throws: when the current directory is unknown, or a source is of a kind that this version does not read.
    package init(
        sources: [[UInt8]], manifest: [UInt8]?, isNullSeparated: Bool, rules: LanguageRules,
        remotes: any RemoteListing = NoRemoteListing(), base: [UInt8]? = nil
    ) throws(SubmissionError) {
        guard let folder = base ?? FileSystem.currentDirectory() else {
            throw SubmissionError("the current directory cannot be found", hint: "change to one that exists")
        }
        self.sources = sources
        self.manifest = manifest
        self.isNullSeparated = isNullSeparated
        self.rules = rules
        self.remotes = remotes
        self.base = folder
        for source in sources {
            if source.isEmpty { throw SubmissionError("an empty SOURCE") }
            if let complaint = Self.complaint(aboutURL: SourceReference(bytes: source)) {
                throw SubmissionError("\(SourceReference(bytes: source).text): \(complaint)")
            }
        }
    }

    /// Whether reading this needs stores or web servers, as far as the command line tells.
    package static func isRemote(_ source: [UInt8]) -> Bool { SourceReference(bytes: source).remoteScheme != nil }

    /// Checks the manifest's beginning, so that a wrong one is refused before anything is submitted.
    package func checkManifest() throws(SubmissionError) {
        guard let manifest else { return }
        try withManifest(manifest) { (source, name) throws(SubmissionError) in
            if try Manifest.inventory(&source, name: name) != nil { return }
            try Manifest.read(source, name: name) { _ in false }
        }
    }

    /// A source as a command line names it, as the cluster knows it: an absolute path, or a URL as it is.
    package static func absolute(_ given: [UInt8]) throws(SubmissionError) -> [UInt8] {
        if isRemote(given) { return given }
        if given.starts(with: Array("file:///".utf8)) {
            return SourceReference(text: String(decoding: given, as: UTF8.self)).bytes
        }
        guard let base = FileSystem.currentDirectory() else {
            throw SubmissionError("the current directory cannot be found", hint: "change to one that exists")
        }
        return RawPath.absolute(given, base: base)
    }

    /// Calls `body` with everything that is found, in order; it returns false to end.
    package func read(_ body: (FeedItem) -> Bool) throws(SubmissionError) {
        var rest = sources[...]
        while let source = rest.first {
            let goesOn: Bool
            let prefixes = rest.prefix { SourceReference(bytes: $0).remoteScheme == .s3 }
            if !prefixes.isEmpty {
                rest = rest.dropFirst(prefixes.count)
                if try !list(prefixes.map { SourceReference(bytes: $0) }, body) { return }
                continue
            }
            rest = rest.dropFirst()
            if source == [UInt8(ascii: "-")] {
                goesOn = try readStandardInput(body)
            } else {
                goesOn = give(source, base: base, language: nil, priority: nil, walksDirectories: true, body)
            }
            if !goesOn { return }
        }
        guard let manifest else { return }
        let isRemote = Self.isRemote(manifest)
        // What is relative in a manifest begins where the manifest is.
        let folder =
            isRemote
            ? Array(manifest[..<(manifest.lastIndex(of: RawPath.slash) ?? 0)])
            : RawPath.folder(of: RawPath.absolute(manifest, base: base))
        try withManifest(manifest) { (source, name) throws(SubmissionError) in
            if let inventory = try Manifest.inventory(&source, name: name) {
                return try read(inventory, body)
            }
            try Manifest.read(source, name: name) { entry in
                switch entry {
                case .skipped(let source, let reason):
                    return body(.skipped(source: SourceReference(bytes: source), reason: reason))
                case .entry(let source, let language, let priority):
                    if isRemote, source.first != RawPath.slash, !source.starts(with: Array("file://".utf8)),
                        !Self.isRemote(source)
                    {
                        return giveRemote(
                            SourceReference(bytes: RawPath.join(folder, source)), language: language,
                            priority: priority, body)
                    }
                    return give(
                        source, base: folder, language: language, priority: priority, walksDirectories: false, body)
                }
            }
        }
    }

    private func withManifest(
        _ path: [UInt8], _ body: (inout ByteSource, String) throws(SubmissionError) -> Void
    ) throws(SubmissionError) {
        let name = SourceReference(bytes: path).text
        if Self.isRemote(path) {
            var source = try remotes.bytes(of: SourceReference(bytes: path))
            return try body(&source, name)
        }
        let descriptor = FileSystem.withPath(path) { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else {
            throw SubmissionError("the manifest \(name) cannot be opened: \(FileSystem.reason(errno))")
        }
        defer { close(descriptor) }
        var source = ByteSource(descriptor: descriptor, name: "the manifest \(name)")
        try body(&source, name)
    }

    private func readStandardInput(_ body: (FeedItem) -> Bool) throws(SubmissionError) -> Bool {
        try RecordReader.read(
            ByteSource(descriptor: STDIN_FILENO, name: "standard input"), separator: isNullSeparated ? 0 : 0x0A,
            limit: Self.lineByteLimit
        ) { record, number in
            guard let record else {
                let place = SourceReference(path: "standard input entry \(number)")
                return body(.skipped(source: place, reason: "longer than \(Self.lineByteLimit) bytes"))
            }
            if record.isEmpty { return true }
            return give(record, base: base, language: nil, priority: nil, walksDirectories: true, body)
        }
    }

    /// Gives out one named source, or what is below it.
    private func give(
        _ given: [UInt8], base: [UInt8], language: String?, priority: Int?, walksDirectories: Bool,
        _ body: (FeedItem) -> Bool
    ) -> Bool {
        func skip(_ path: [UInt8], _ reason: String) -> Bool {
            body(.skipped(source: SourceReference(bytes: path), reason: reason))
        }
        if Self.isRemote(given) {
            return giveRemote(SourceReference(bytes: given), language: language, priority: priority, body)
        }
        // The text form of a name that is not UTF-8, as every command prints it.
        let isTextForm = given.starts(with: Array("file:///".utf8))
        let named = isTextForm ? SourceReference(text: String(decoding: given, as: UTF8.self)).bytes : given
        if named.contains(0) { return skip(given, "a name cannot hold a NUL byte") }
        let path = RawPath.absolute(named, base: base)
        guard path.count <= DirectoryWalk.pathByteLimit else { return skip(path, FileSystem.reason(ENAMETOOLONG)) }
        guard let facts = FileFacts.look(at: path, followLinks: true) else {
            return skip(path, FileSystem.reason(errno))
        }
        switch facts.kind {
        case .directory where walksDirectories:
            return DirectoryWalk.walk(path) { found in
                switch found {
                case .skipped(let path, let reason): skip(path, reason)
                case .file(let path, let fingerprint):
                    body(.entry(entry(path, fingerprint, language: language, priority: priority)))
                }
            }
        case .directory:
            return skip(path, "is a directory")
        case .symbolicLink, .other:
            return skip(path, "not a regular file")
        case .regular:
            guard FileSystem.withPath(path, { access($0, R_OK) }) == 0 else {
                return skip(path, FileSystem.reason(errno))
            }
            return body(.entry(entry(path, facts.fingerprint, language: language, priority: priority)))
        }
    }

    func entry(
        _ path: [UInt8], _ fingerprint: SourceFingerprint?, language: String?, priority: Int?
    ) -> SourceEntry {
        SourceEntry(
            source: SourceReference(bytes: path), language: language ?? rules.language(for: path), priority: priority,
            fingerprint: fingerprint)
    }
}
