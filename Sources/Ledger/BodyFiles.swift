// Bodies of results that are too large for a row: files of the data directory, each under the SHA-256 of what it holds.
//
// Invariants:
// - a file has its name only with all its bytes on disk, and the name is on disk before the transaction that names it
//   commits: a row never names what a crash can take away;
// - a file is removed only after the commit that took its last row away; what a crash leaves without a row is removed by
//   the next start.

import ClusterModel
import Crypto
import Glibc

/// The directory `bodies` of a data directory. Reading is for everybody; writing is the ledger's writer's.
struct BodyFiles {
    /// Bytes of a body up to which it is a column of its row.
    static let inlineByteCount = 64 << 10
    /// Bytes of a name.
    static let nameByteCount = 32
    private static let directoryName = "bodies"
    private static let unfinished = "unfinished"

    let path: String
    private let dataDirectory: String
    /// Directories that have names that a crash could take away.
    private var unsynchronised: Set<String> = []
    /// Files that were written, and files whose rows were deleted, since the last commit.
    private var written: Set<[UInt8]> = []
    private var doomed: Set<[UInt8]> = []

    static func path(in directory: String) -> String { directory + "/" + directoryName }

    init(dataDirectory: String) {
        self.dataDirectory = dataDirectory
        path = Self.path(in: dataDirectory)
    }

    /// The path of a file by its name, 32 bytes: two hexadecimal digits of directory and the other 62.
    func path(of name: [UInt8]) -> String { folder(of: name) + "/" + HexText.text(name.dropFirst()) }

    private func folder(of name: [UInt8]) -> String { path + "/" + HexText.text(name.prefix(1)) }

    // MARK: Reading

    /// The bytes of a file. Throws `corrupt` when it is missing or larger than a result can be, `ioError`. Whether they are
    /// the right ones is told by the checksum of the row.
    func read(_ name: [UInt8]) throws(LedgerError) -> [UInt8] {
        let path = path(of: name)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { throw .corrupt("the body of a result is missing: \(path)") }
            throw DataDirectory.systemError("open \(path)")
        }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw DataDirectory.systemError("read \(path)") }
        guard (0...Limits.resultByteCount).contains(Int(facts.st_size)) else {
            throw .corrupt("the body of a result has \(facts.st_size) bytes: \(path)")
        }
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(facts.st_size)) { buffer, count in
            while count < buffer.count {
                let read = pread(
                    descriptor, buffer.baseAddress?.advanced(by: count), buffer.count - count, off_t(count))
                if read < 0, errno == EINTR { continue }
                failed = read < 0
                // A file that ends early does not match its checksum.
                guard read > 0 else { return }
                count += read
            }
        }
        if failed { throw DataDirectory.systemError("read \(path)") }
        return bytes
    }

    // MARK: Writing

    /// Writes a body and its bytes to disk; the name is durable after `synchronise`. Returns its name.
    ///
    /// A file that is there already is written anew: it may be damaged, and only its checksum in a row would tell.
    mutating func store(_ body: UnsafeRawBufferPointer) throws(LedgerError) -> [UInt8] {
        let name = Array(SHA256.hash(data: body))
        let folder = folder(of: name)
        try makeDirectory(path, in: dataDirectory)
        try makeDirectory(folder, in: path)
        written.insert(name)
        let temporary = path + "/" + Self.unfinished
        do throws(LedgerError) {
            try Self.write(body, to: temporary)
        } catch {
            // A disk that is full gets its space back.
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path(of: name)) == 0 else { throw DataDirectory.systemError("name \(path(of: name))") }
        unsynchronised.insert(folder)
        return name
    }

    private mutating func makeDirectory(_ path: String, in parent: String) throws(LedgerError) {
        if mkdir(path, 0o700) == 0 {
            unsynchronised.insert(parent)
        } else if errno != EEXIST {
            throw DataDirectory.systemError("make the directory \(path)")
        }
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws(LedgerError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw DataDirectory.systemError("make \(path)") }
        defer { close(descriptor) }
        var position = 0
        while position < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: position), bytes.count - position)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw DataDirectory.systemError("write \(path)") }
            position += count
        }
        guard fsync(descriptor) == 0 else { throw DataDirectory.systemError("synchronise \(path)") }
    }

    /// Makes the names of all files that were stored durable. Before the commit of the rows that name them.
    mutating func synchronise() throws(LedgerError) {
        // The outer directories first is as good as any order: only all of them together count.
        for directory in unsynchronised.sorted() { try DataDirectory.synchronise(directory) }
        unsynchronised.removeAll()
    }

    /// Notes that a row that named a file was deleted.
    mutating func doom(_ name: [UInt8]) { doomed.insert(name) }

    /// After a commit: removes the files that lost their rows and that no other row names.
    mutating func commit(isNamed: ([UInt8]) throws(LedgerError) -> Bool) {
        remove(doomed, isNamed)
        (doomed, written) = ([], [])
    }

    /// After an undone transaction: removes the files that it wrote and that no other row names.
    mutating func rollback(isNamed: ([UInt8]) throws(LedgerError) -> Bool) {
        remove(written, isNamed)
        (doomed, written) = ([], [])
    }

    private func remove(_ names: Set<[UInt8]>, _ isNamed: ([UInt8]) throws(LedgerError) -> Bool) {
        for name in names {
            // What cannot be asked or removed now stays as what a crash leaves: a start after one removes it.
            guard (try? isNamed(name)) == false else { continue }
            unlink(path(of: name))
        }
    }

    /// Removes the files that no row names. Returns how many there were.
    func sweep(isNamed: ([UInt8]) throws(LedgerError) -> Bool) throws(LedgerError) -> Int {
        var count = 0
        for folder in Self.entries(of: path) {
            if folder == Self.unfinished {
                unlink(path + "/" + folder)
                continue
            }
            for file in Self.entries(of: path + "/" + folder) {
                // Other files are somebody else's, and stay.
                guard let name = HexText.bytes(folder + file), name.count == Self.nameByteCount, try !isNamed(name)
                else { continue }
                if unlink(path(of: name)) == 0 { count += 1 }
            }
        }
        return count
    }

    private static func entries(of directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
