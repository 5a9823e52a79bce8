// index.jsonl of a tree of texts: which file has the text of which source, and why the others have none.

internal import ClusterModel
internal import Glibc

/// Collects the index while the common folder is unknown, then writes it.
final class TextTreeIndex {
    private let path: [UInt8]
    private var file: UnsafeMutablePointer<FILE>?

    init(folder: [UInt8]) throws(ExportError) {
        path = folder + Array("/index".utf8)
        file = CPath.with(path) { fopen($0, "w+e") }
        if file == nil { throw .system("the index cannot be written") }
    }

    /// - Parameter file: components of the text's path below the tree; nil where there is no text.
    func add(_ record: ExportRecord, file components: [[UInt8]]?) throws(ExportError) {
        var members = record.columns.filter {
            ["job", "source", "batch", "outcome", "language", "reason"].contains($0.0)
        }
        if let page = record.page { members.append(("page", JSONValue(page))) }
        if let result = record.result {
            members += [("pages", JSONValue(result.pages.count)), ("blank", .bool(result.isBlank))]
        }
        var line: [UInt8] = []
        JSONValue.object(members).write(to: &line)
        // NUL is in no name and in no JSON: it ends components and the entry.
        for component in components ?? [] { line += [0] + component }
        line += [0, 0]
        let count = line.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
        if count != line.count { throw .system("the index cannot be written") }
    }

    /// Writes `folder`/index.jsonl below the open directory `root`.
    /// - Parameter dropping: leading components that all paths have in common.
    func finish(dropping: Int, into root: CInt, folder: [UInt8]) throws(ExportError) {
        guard let file else { return }
        let target = folder + Array("/index.jsonl".utf8)
        let descriptor = CPath.with(target) { openat(root, $0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw .system("index.jsonl cannot be written") }
        defer { Glibc.close(descriptor) }
        rewind(file)
        var buffer: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(buffer) }
        /// The next text up to its NUL; nil at the end.
        func next() -> [UInt8]? {
            let count = getdelim(&buffer, &capacity, 0, file)
            guard count > 0, let buffer else { return nil }
            return UnsafeBufferPointer(start: buffer, count: count - 1).map { UInt8(bitPattern: $0) }
        }
        while let json = next() {
            var components: [[UInt8]] = []
            while let component = next(), !component.isEmpty { components.append(component) }
            var line = Array(#"{"file":"#.utf8)
            let relative = Array(components.dropFirst(dropping).joined(separator: [UInt8(ascii: "/")]))
            (components.isEmpty ? JSONValue.null : .text(Self.text(relative))).write(to: &line)
            line += Array(",".utf8) + json.dropFirst() + [0x0A]
            try OutputFile.writeAll(line, to: descriptor, name: target)
        }
        close()
        CPath.with(path) { _ = unlink($0) }
        guard fsync(descriptor) == 0 else { throw .system("index.jsonl cannot be written") }
    }

    func close() {
        if let file { fclose(file) }
        file = nil
    }

    /// A relative path as text; percent-encoded like `SourceReference.text`, without its scheme, where it is not UTF-8.
    private static func text(_ relative: [UInt8]) -> String {
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
