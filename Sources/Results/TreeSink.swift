// One document a source, the parts of a file of many pages in page order, in folders like those of the sources, and
// index.jsonl beside them.
//
// The tree is built below PATH.partial with the whole path of every source. When the last row is there, the folder that all
// sources have in common becomes the wanted folder by one rename: nothing has to be known in advance, and an incomplete
// tree never has the wanted name.

internal import CFolderSync
internal import ClusterModel
internal import Glibc

/// Writes a folder of documents. Jobs without one (failed, cancelled, pending) are in the index only.
final class TreeSink: ExportSink {
    private let path: [UInt8]
    private let kind: TreeKind
    private let temporary: [UInt8]
    private var root: CInt = -1
    private let index: TreeIndex
    private let document: DocumentFile
    /// Components that the folders of all sources have in common; nil before the first.
    private var common: [[UInt8]]?
    /// The folder of the last file: the next one is most often in it as well.
    private var cached: (components: [[UInt8]], descriptor: CInt)?
    /// The jobs of the source whose rows are coming.
    private var rows: [ExportRecord] = []
    private var files = TreeFiles()
    private var waiting = TreeFiles()
    private static let checkpointFileCount = 1_024

    init(path: [UInt8], kind: TreeKind, resuming: ExportState? = nil) throws(ExportError) {
        self.path = Self.withoutSlash(path)
        self.kind = kind
        temporary = OutputFile.partialName(for: self.path)
        let name = SourceReference(bytes: path).text
        // rmdir on the wanted folder tells an empty one from a used one without a race with its rename.
        if CPath.with(self.path, { rmdir($0) }) != 0, errno != ENOENT {
            guard errno == ENOTEMPTY || errno == EEXIST else { throw .system("\(name) cannot be written") }
            throw ExportError("\(name) exists and is not empty", hint: "name a new folder with -o")
        }
        root = try Self.openRoot(temporary, name: name, isKept: resuming != nil)
        let tree = resuming?.tree
        let root = root
        do throws(ExportError) {
            index = try TreeIndex(
                path: temporary + Array("/index".utf8), keeping: tree?.indexByteCount ?? 0,
                dropped: { components in
                    let file = Array("tree".utf8) + components.flatMap { [UInt8(ascii: "/")] + $0 }
                    CPath.with(file) { _ = unlinkat(root, $0, 0) }
                })
            guard "tree".withCString({ mkdirat(root, $0, 0o777) }) == 0 || errno == EEXIST else {
                throw .system("\(name) cannot be written")
            }
        } catch {
            close(root)
            throw error
        }
        document = DocumentFile(kind: kind, folder: root)
        common = tree?.common
        files = tree?.files ?? TreeFiles()
    }

    static func withoutSlash(_ path: [UInt8]) -> [UInt8] {
        path.count > 1 && path.last == UInt8(ascii: "/") ? Array(path.dropLast()) : path
    }

    /// The open folder PATH.partial, held by this export only.
    private static func openRoot(_ path: [UInt8], name: String, isKept: Bool) throws(ExportError) -> CInt {
        func opened() throws(ExportError) -> CInt {
            guard CPath.with(path, { mkdir($0, 0o777) }) == 0 || errno == EEXIST else {
                throw .system("\(name) cannot be written")
            }
            let root = CPath.with(path) { Glibc.open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            guard root >= 0 else { throw .system("\(name) cannot be written") }
            guard flock(root, LOCK_EX | LOCK_NB) == 0 else {
                close(root)
                throw ExportError("another export writes to \(name)", hint: "wait for it, or name another folder")
            }
            return root
        }
        let root = try opened()
        if isKept { return root }
        // What an export left that does not go on.
        TemporaryTree.remove(path)
        close(root)
        return try opened()
    }

    // MARK: Rows

    var isCheckpointDue: Bool {
        waiting.byteCount >= LineSink.checkpointByteCount || waiting.fileCount >= Self.checkpointFileCount
    }

    func checkpoint(_ state: inout ExportState) throws(ExportError) {
        try endSource()
        try index.synchronise()
        guard folder_sync(root) == 0 else { throw .system("the documents cannot be written") }
        waiting = TreeFiles()
        state.tree = ExportState.Tree(indexByteCount: index.byteCount, common: common, files: files)
    }

    func write(_ record: ExportRecord) throws(ExportError) {
        if let last = rows.last, last.source != record.source { try endSource() }
        let folder = Array(TreeName.components(of: record.source).dropLast())
        common = common.map { TreeName.commonPrefix($0, folder) } ?? folder
        if let result = record.result { try document.append(record, result) }
        rows.append(record.withoutBodies)
    }

    /// Puts the document of the source whose rows came last into the tree.
    private func endSource() throws(ExportError) {
        guard let first = rows.first else { return }
        defer { rows = [] }
        guard document.isOpen else { return try index.add(rows, file: nil, nil) }
        let digest = try document.end()
        let parts = TreeName.components(of: first.source)
        let placed = try open(Array(parts.dropLast()))
        let name = try freeName(parts.last ?? [], for: first, in: placed.descriptor)
        try index.add(rows, file: placed.components + [name], digest)
        let status = DocumentFile.name.withCString { from in
            CPath.with(name) { renameat(root, from, placed.descriptor, $0) }
        }
        guard status == 0 else { throw .system("the document of \(first.source.text) cannot be written") }
        files.add(digest.byteCount)
        waiting.add(digest.byteCount)
    }

    /// A name that no document has yet. Two sources never share one, whatever they are called.
    private func freeName(
        _ name: [UInt8], for record: ExportRecord, in folder: CInt
    ) throws(ExportError) -> [UInt8] {
        let candidates = [
            TreeName.file(name, kind), TreeName.file(name, kind, distinguishedBy: String(record.job.prefix(16))),
            TreeName.file(name, kind, distinguishedBy: record.job),
        ]
        for candidate in candidates {
            if CPath.with(candidate, { faccessat(folder, $0, F_OK, AT_SYMLINK_NOFOLLOW) }) != 0 {
                if errno == ENOENT { return candidate }
                break
            }
        }
        throw .system("the document of \(record.source.text) cannot be written")
    }

    /// The folder for a source's folder, made where it is missing.
    private func open(_ wanted: [[UInt8]]) throws(ExportError) -> (components: [[UInt8]], descriptor: CInt) {
        let components = wanted.map { TreeName.folder($0, kind) }
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
        guard current >= 0 else { throw .system("the folder of documents cannot be opened") }
        cached = (components, current)
        return (components, current)
    }

    // MARK: The end

    func finish(_ closing: ExportClosing) throws(ExportError) -> ExportFiles {
        try endSource()
        if let cached { close(cached.descriptor) }
        cached = nil
        let prefix = (common ?? []).map { TreeName.folder($0, kind) }
        let top = Array("tree".utf8) + prefix.flatMap { [UInt8(ascii: "/")] + $0 }
        // A batch without a single document still has a folder, with its index.
        let folder = try open(common ?? []).descriptor
        let digest = try write(TreeName.index, in: folder) { target throws(ExportError) in
            try index.finish(dropping: prefix.count, into: target)
        }
        let made = ExportFiles.tree(files, index: digest)
        let manifest = closing.manifest(made)
        _ = try write(TreeName.manifest, in: folder) { target throws(ExportError) in
            try OutputFile.writeAll(manifest, to: target, name: Array(TreeName.manifest.utf8))
        }
        try write(TreeName.failures, in: folder) { target throws(ExportError) in try closing.copyFailures(to: target) }
        guard folder_sync(root) == 0 else { throw .system("the documents cannot be written") }
        close(folder)
        cached = nil
        guard CPath.with(top, { from in CPath.with(path) { renameat(root, from, AT_FDCWD, $0) } }) == 0 else {
            throw .system("\(SourceReference(bytes: path).text) cannot be written")
        }
        // The index and the empty folders above the common one.
        abandon()
        return made
    }

    private func write<Result>(
        _ name: String, in folder: CInt, _ body: (CInt) throws(ExportError) -> Result
    ) throws(ExportError) -> Result {
        let target = name.withCString {
            openat(folder, $0, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o666)
        }
        guard target >= 0 else { throw .system("\(name) cannot be written") }
        defer { close(target) }
        return try body(target)
    }

    func abandon() {
        TemporaryTree.remove(temporary)
        suspend()
    }

    func suspend() {
        if let cached { close(cached.descriptor) }
        cached = nil
        document.close()
        if root >= 0 { close(root) }
        root = -1
    }
}

/// How many documents there are, and their bytes.
package struct TreeFiles: Codable, Hashable, Sendable {
    package private(set) var fileCount = 0
    package private(set) var byteCount = 0

    mutating func add(_ byteCount: Int) {
        fileCount += 1
        self.byteCount += byteCount
    }
}

extension ExportRecord {
    /// The figures alone. The index needs no text: a file of many parts has many rows.
    var withoutBodies: ExportRecord {
        var record = self
        guard var result else { return record }
        result.outputs = []
        for index in result.pages.indices { result.pages[index].text = "" }
        record.result = result
        return record
    }
}
