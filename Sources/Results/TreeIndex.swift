// index.jsonl of a tree: which file has the document of which source, and why the others have none.

internal import ClusterModel
internal import Glibc

/// Collects the index while the common folder is unknown, then writes it.
///
/// Invariant: a document is in the index before it is in the tree. So an export that goes on finds what came behind its
/// last checkpoint.
final class TreeIndex {
    private let path: [UInt8]
    private let descriptor: CInt
    /// Bytes of entries that are there.
    private(set) var byteCount: Int

    /// - Parameters:
    ///   - kept: bytes of an earlier index that stay.
    ///   - dropped: is called with the path of each document behind them, which is forgotten.
    init(path: [UInt8], keeping kept: Int = 0, dropped: ([[UInt8]]) -> Void = { _ in }) throws(ExportError) {
        self.path = path
        byteCount = kept
        descriptor = CPath.with(path) { open($0, O_RDWR | O_CREAT | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw .system("the index cannot be written") }
        try entries(from: kept) { _, components in if !components.isEmpty { dropped(components) } }
        guard ftruncate(descriptor, off_t(kept)) == 0, lseek(descriptor, 0, SEEK_END) == off_t(kept) else {
            throw .system("the index cannot be written")
        }
    }

    deinit { close(descriptor) }

    /// Adds the jobs of one source.
    /// - Parameters:
    ///   - file: components of the document's path below the tree; nil where there is none.
    ///   - digest: of the document.
    func add(_ records: [ExportRecord], file components: [[UInt8]]?, _ digest: StreamDigest?) throws(ExportError) {
        var entries: [UInt8] = []
        for record in records {
            let hasDocument = record.result != nil
            var members = record.columns.filter {
                ["job", "source", "batch", "outcome", "language", "reason"].contains($0.0)
            }
            if let page = record.page { members.append(("page", JSONValue(page))) }
            if let result = record.result {
                members += [("pages", JSONValue(result.pages.count)), ("blank", .bool(result.isBlank))]
                if let digest {
                    members += [
                        ("file_bytes", JSONValue(digest.byteCount)), ("file_sha256", .text(digest.sha256)),
                    ]
                }
            }
            JSONValue.object(members).write(to: &entries)
            // NUL is in no name and in no JSON: it ends components and the entry.
            if hasDocument { for component in components ?? [] { entries += [0] + component } }
            entries += [0, 0]
        }
        try OutputFile.writeAll(entries, to: descriptor, name: Array("the index".utf8))
        byteCount += entries.count
    }

    func synchronise() throws(ExportError) {
        guard fdatasync(descriptor) == 0 else { throw .system("the index cannot be written") }
    }

    /// Calls `body` with each entry from an offset on; one that is not complete ends them.
    private func entries(
        from offset: Int, _ body: ([UInt8], [[UInt8]]) throws(ExportError) -> Void
    ) throws(ExportError) {
        guard lseek(descriptor, off_t(offset), SEEK_SET) == off_t(offset), let file = fdopen(dup(descriptor), "r")
        else {
            throw .system("the index cannot be read")
        }
        defer { fclose(file) }
        var buffer: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(buffer) }
        /// The next text up to its NUL; nil at the end.
        func next() -> [UInt8]? {
            let count = getdelim(&buffer, &capacity, 0, file)
            guard count > 0, let buffer, buffer[count - 1] == 0 else { return nil }
            return UnsafeBufferPointer(start: buffer, count: count - 1).map { UInt8(bitPattern: $0) }
        }
        while let json = next() {
            var components: [[UInt8]] = []
            while true {
                guard let component = next() else { return }
                if component.isEmpty { break }
                components.append(component)
            }
            try body(json, components)
        }
    }

    /// Writes index.jsonl to an open file. Returns its digest.
    /// - Parameter dropping: leading components that all paths have in common.
    func finish(dropping: Int, into target: CInt) throws(ExportError) -> StreamDigest {
        var digest = StreamDigest()
        var lines: [UInt8] = []
        let name = Array(TreeName.index.utf8)
        try entries(from: 0) { json, components throws(ExportError) in
            lines += Array(#"{"file":"#.utf8)
            let relative = Array(components.dropFirst(dropping).joined(separator: [UInt8(ascii: "/")]))
            (components.isEmpty ? JSONValue.null : .text(Self.text(relative))).write(to: &lines)
            lines += Array(",".utf8) + json.dropFirst() + [0x0A]
            guard lines.count >= 64 << 10 else { return }
            digest.update(lines)
            try OutputFile.writeAll(lines, to: target, name: name)
            lines = []
        }
        digest.update(lines)
        try OutputFile.writeAll(lines, to: target, name: name)
        return digest
    }

    /// A relative path as text; percent-encoded like `SourceReference.text`, without its scheme, where it is not UTF-8.
    static func text(_ relative: [UInt8]) -> String {
        if let text = String(validating: relative, as: UTF8.self) { return text }
        let encoded = SourceReference(bytes: [UInt8(ascii: "/")] + relative).text
        return String(encoded.dropFirst("file:///".count))
    }
}

/// Removal of a folder that an export began.
enum TemporaryTree {
    /// Removes everything below `path` and itself, without following links. What cannot be removed stays.
    static func remove(_ path: [UInt8]) {
        let descriptor = CPath.with(path) { open($0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }
        if descriptor >= 0 { empty(descriptor) }
        CPath.with(path) { _ = rmdir($0) }
    }

    /// Removes what is in an open directory, and closes it.
    private static func empty(_ descriptor: CInt) {
        guard let stream = fdopendir(descriptor) else {
            close(descriptor)
            return
        }
        defer { closedir(stream) }
        var folders: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == Array(".".utf8) || name == Array("..".utf8) { continue }
            if CPath.with(name, { unlinkat(descriptor, $0, 0) }) != 0 { folders.append(name) }
        }
        for folder in folders {
            let child = CPath.with(folder) {
                openat(descriptor, $0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
            if child >= 0 { empty(child) }
            CPath.with(folder) { _ = unlinkat(descriptor, $0, AT_REMOVEDIR) }
        }
    }
}
