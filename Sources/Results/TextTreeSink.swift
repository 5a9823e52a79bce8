// One text file a source, the parts of a file of many pages in page order, in folders like those of the sources, and index.jsonl beside them.
//
// The tree is built below a temporary folder with the whole path of every source. When the last row is there, the folder
// that all sources have in common becomes the wanted folder by one rename: nothing has to be known in advance, and an
// incomplete tree never has the wanted name.

internal import ClusterModel
internal import Glibc

/// Writes a folder of texts. Jobs without a text (failed, cancelled, pending) are in the index only.
final class TextTreeSink: ExportSink {
    private let path: [UInt8]
    private let temporary: [UInt8]
    private var root: CInt = -1
    private let index: TextTreeIndex
    /// Components that the folders of all sources have in common; nil before the first.
    private var common: [[UInt8]]?
    /// The folder of the last file: the next one is most often in it as well.
    private var cached: (components: [[UInt8]], descriptor: CInt)?
    /// The text that was written last: further parts of the same source go behind it.
    private var last: (source: SourceReference, batch: String, name: [UInt8])?

    init(path: [UInt8]) throws(ExportError) {
        self.path = path.count > 1 && path.last == UInt8(ascii: "/") ? Array(path.dropLast()) : path
        temporary = OutputFile.temporaryName(for: self.path)
        let name = SourceReference(bytes: path).text
        // rmdir on the wanted folder tells an empty one from a used one without a race with its rename.
        if CPath.with(self.path, { rmdir($0) }) != 0, errno != ENOENT {
            guard errno == ENOTEMPTY || errno == EEXIST else { throw .system("\(name) cannot be written") }
            throw ExportError("\(name) exists and is not empty", hint: "name a new folder with -o")
        }
        guard CPath.with(temporary, { mkdir($0, 0o777) }) == 0 else { throw .system("\(name) cannot be written") }
        root = CPath.with(temporary) { Glibc.open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        index = try TextTreeIndex(folder: temporary)
        guard root >= 0, "tree".withCString({ mkdirat(root, $0, 0o777) }) == 0 else {
            throw .system("\(name) cannot be written")
        }
    }

    func write(_ record: ExportRecord) throws(ExportError) {
        let parts = TextTreeName.components(of: record.source)
        let folder = Array(parts.dropLast())
        common = common.map { TextTreeName.commonPrefix($0, folder) } ?? folder
        guard let result = record.result, let name = parts.last else { return try index.add(record, file: nil) }
        let placed = try open(folder)
        let isContinued = record.page != nil && last?.source == record.source && last?.batch == record.batch
        let file =
            isContinued
            ? try append(to: last?.name ?? name, of: record, in: placed.descriptor)
            : try create(name, for: record, in: placed.descriptor)
        defer { close(file.descriptor) }
        // Between parts stands what stands between pages.
        let text = (isContinued ? "\u{0C}" : "") + result.text
        try OutputFile.writeAll(Array(text.utf8), to: file.descriptor, name: file.name)
        last = (record.source, record.batch, file.name)
        try index.add(record, file: placed.components + [file.name])
    }

    /// Opens the text of an earlier part of a source.
    private func append(
        to name: [UInt8], of record: ExportRecord, in folder: CInt
    ) throws(ExportError) -> (descriptor: CInt, name: [UInt8]) {
        let descriptor = CPath.with(name) { openat(folder, $0, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC) }
        guard descriptor >= 0 else { throw .system("the text of \(record.source.text) cannot be written") }
        return (descriptor, name)
    }

    /// Creates a new file for a source's name. Two sources never share one, whatever they are called.
    private func create(
        _ name: [UInt8], for record: ExportRecord, in folder: CInt
    ) throws(ExportError) -> (descriptor: CInt, name: [UInt8]) {
        let candidates = [
            TextTreeName.file(name), TextTreeName.file(name, distinguishedBy: String(record.job.prefix(16))),
            TextTreeName.file(name, distinguishedBy: record.job),
        ]
        for candidate in candidates {
            let descriptor = CPath.with(candidate) {
                openat(folder, $0, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o666)
            }
            if descriptor >= 0 { return (descriptor, candidate) }
            if errno != EEXIST { break }
        }
        throw .system("the text of \(record.source.text) cannot be written")
    }

    /// The folder for a source's folder, made where it is missing.
    private func open(_ wanted: [[UInt8]]) throws(ExportError) -> (components: [[UInt8]], descriptor: CInt) {
        let components = wanted.map(TextTreeName.folder)
        if let cached, cached.components == components { return cached }
        if let cached { close(cached.descriptor) }
        cached = nil
        var current = "tree".withCString { openat(root, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        for component in components {
            let next = CPath.with(component) { name in
                _ = mkdirat(current, name, 0o777)
                return openat(current, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
            let code = errno
            if current >= 0 { close(current) }
            current = next
            guard current >= 0 else {
                throw .system("the folder \(String(decoding: component, as: UTF8.self)) cannot be made", code)
            }
        }
        guard current >= 0 else { throw .system("the folder of texts cannot be opened") }
        cached = (components, current)
        return (components, current)
    }

    func finish() throws(ExportError) {
        if let cached { close(cached.descriptor) }
        cached = nil
        let prefix = (common ?? []).map(TextTreeName.folder)
        let top = Array("tree".utf8) + prefix.flatMap { [UInt8(ascii: "/")] + $0 }
        // A batch without a single text still has a folder, with its index.
        if !prefix.isEmpty { close(try open(common ?? []).descriptor) }
        cached = nil
        try index.finish(dropping: prefix.count, into: root, folder: top)
        guard CPath.with(top, { from in CPath.with(path) { renameat(root, from, AT_FDCWD, $0) } }) == 0 else {
            throw .system("\(SourceReference(bytes: path).text) cannot be written")
        }
        removeTemporary(prefix)
    }

    /// What is left of the temporary folder: the empty folders above the common one.
    private func removeTemporary(_ prefix: [[UInt8]]) {
        for count in (0..<prefix.count).reversed() {
            let folder = Array("tree".utf8) + prefix[..<count].flatMap { [UInt8(ascii: "/")] + $0 }
            CPath.with(folder) { _ = unlinkat(root, $0, AT_REMOVEDIR) }
        }
        close(root)
        root = -1
        CPath.with(temporary) { _ = rmdir($0) }
    }

    func abandon() {
        if let cached { close(cached.descriptor) }
        cached = nil
        if root >= 0 { close(root) }
        root = -1
        index.close()
        TemporaryTree.remove(temporary)
    }
}
