// A tree as one tar (POSIX, with pax headers where a name needs them): for stores, which have no folders and where each
// small object costs a request. Files are named by the whole paths of their sources.

internal import ClusterModel
internal import Glibc

/// Writes an archive of documents.
final class TarSink: ExportSink {
    private let output: any ByteOutput
    private let kind: TreeKind
    private let scratch: ScratchFolder
    private let folder: CInt
    private let index: TreeIndex
    private let document: DocumentFile
    private var rows: [ExportRecord] = []
    private var files = TreeFiles()

    init(_ output: any ByteOutput, kind: TreeKind) throws(ExportError) {
        self.output = output
        self.kind = kind
        scratch = try ScratchFolder()
        folder = CPath.with(scratch.path) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard folder >= 0 else { throw .system("a temporary folder cannot be opened") }
        index = try TreeIndex(path: scratch.path + Array("/index".utf8))
        document = DocumentFile(kind: kind, folder: folder)
    }

    deinit {
        document.close()
        close(folder)
    }

    // An archive that was interrupted begins anew: its index and its last document are not in it yet.
    var isCheckpointDue: Bool { false }
    func checkpoint(_ state: inout ExportState) throws(ExportError) {}

    func write(_ record: ExportRecord) throws(ExportError) {
        if let last = rows.last, last.source != record.source { try endSource() }
        if let result = record.result { try document.append(record, result) }
        rows.append(record.withoutBodies)
    }

    private func endSource() throws(ExportError) {
        guard let first = rows.first else { return }
        defer { rows = [] }
        guard document.isOpen else { return try index.add(rows, file: nil, nil) }
        let digest = try document.end()
        let components = TreeName.path(of: first.source, kind, job: first.job)
        try index.add(rows, file: components, digest)
        try add(DocumentFile.name, as: Array(components.joined(separator: [UInt8(ascii: "/")])), digest.byteCount)
        files.add(digest.byteCount)
    }

    /// Adds a file of the scratch folder.
    private func add(_ file: String, as name: [UInt8], _ byteCount: Int) throws(ExportError) {
        let source = file.withCString { openat(folder, $0, O_RDONLY | O_CLOEXEC) }
        guard source >= 0 else { throw .system("a document cannot be read") }
        defer { close(source) }
        try output.write(try TarText.header(name, byteCount: byteCount))
        var left = byteCount
        var piece = [UInt8](repeating: 0, count: 256 << 10)
        while left > 0 {
            let count = read(source, &piece, min(piece.count, left))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .system("a document cannot be read") }
            try output.write(Array(piece[..<count]))
            left -= count
        }
        try output.write(TarText.padding(byteCount))
    }

    private func create(_ name: String, _ body: (CInt) throws(ExportError) -> Void) throws(ExportError) {
        let target = name.withCString { openat(folder, $0, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600) }
        guard target >= 0 else { throw .system("\(name) cannot be written") }
        defer { close(target) }
        try body(target)
    }

    func finish(_ closing: ExportClosing) throws(ExportError) -> ExportFiles {
        try endSource()
        var digest = StreamDigest()
        try create(TreeName.index) { target throws(ExportError) in digest = try index.finish(dropping: 0, into: target)
        }
        try add(TreeName.index, as: Array(TreeName.index.utf8), digest.byteCount)
        var failures = StreamDigest()
        try create(TreeName.failures) { target throws(ExportError) in try closing.copyFailures(to: target) }
        let copied = TreeName.failures.withCString { openat(folder, $0, O_RDONLY | O_CLOEXEC) }
        guard copied >= 0 else { throw .system("failures.jsonl cannot be read") }
        defer { close(copied) }
        failures = try FileDigest.of(copied)
        try add(TreeName.failures, as: Array(TreeName.failures.utf8), failures.byteCount)
        let manifest = closing.manifest(.tree(files, index: digest))
        let name = Array(TreeName.manifest.utf8)
        try output.write(try TarText.header(name, byteCount: manifest.count) + manifest)
        try output.write(TarText.padding(manifest.count))
        try output.write([UInt8](repeating: 0, count: 1_024))
        try output.finish()
        return .archive(files, index: digest, whole: output.digest)
    }

    func abandon() { output.abandon() }
    func suspend() { output.suspend() }
}

/// Blocks of 512 bytes.
enum TarText {
    /// The header of a file, after one that has its name where it is too long or not ASCII. No times, no owners: equal
    /// files give equal bytes.
    static func header(_ name: [UInt8], byteCount: Int) throws(ExportError) -> [UInt8] {
        // What the size's field of eleven octal digits can say.
        guard byteCount < 1 << 33 else { throw ExportError("a document of \(byteCount) bytes does not fit into a tar") }
        if name.count <= 100, name.allSatisfy({ $0 < 0x80 }) { return block(name, byteCount, "0") }
        let record = paxRecord("path", name)
        return block(Array("pax".utf8), record.count, "x") + record + padding(record.count)
            + block(Array(name.suffix(100)), byteCount, "0")
    }

    /// Zeros up to the next block.
    static func padding(_ byteCount: Int) -> [UInt8] { [UInt8](repeating: 0, count: (512 - byteCount % 512) % 512) }

    /// "LENGTH KEY=VALUE\n", its length included in the length.
    private static func paxRecord(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = Array(" \(key)=".utf8) + value + [0x0A]
        var count = rest.count + 1
        while String(count).utf8.count + rest.count != count { count = String(count).utf8.count + rest.count }
        return Array(String(count).utf8) + rest
    }

    private static func block(_ name: [UInt8], _ byteCount: Int, _ type: Character) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in text.enumerated() { bytes[offset + index] = byte }
        }
        func octal(_ value: Int, _ width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: width - digits.utf8.count) + digits
        }
        put(name, at: 0)
        put("0000644".utf8, at: 100)
        put("0000000".utf8, at: 108)
        put("0000000".utf8, at: 116)
        put(octal(byteCount, 11).utf8, at: 124)
        put("00000000000".utf8, at: 136)
        put("        ".utf8, at: 148)
        put(String(type).utf8, at: 156)
        put("ustar".utf8, at: 257)
        put("00".utf8, at: 263)
        let sum = bytes.reduce(0) { $0 + Int($1) }
        put((octal(sum, 6) + "\0 ").utf8, at: 148)
        return bytes
    }
}
