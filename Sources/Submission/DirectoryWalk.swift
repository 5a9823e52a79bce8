// Finds the images below a directory, in byte order of their paths.
//
// Invariants:
// - Names never leave the form of bytes; directories are opened relative to their parent (`openat`), so that a long
//   path or a renamed parent does not lead elsewhere.
// - Symbolic links to directories are reported, not followed: a walk ends, and finds every file once.
// - Memory is that of the names of the directories on the way down, not of the tree.

package import ClusterModel
internal import Glibc

/// What a walk or a list finds.
package enum FoundSource: Hashable, Sendable {
    case file(path: [UInt8], fingerprint: SourceFingerprint)
    case skipped(path: [UInt8], reason: String)
}

/// A recursive walk.
package struct DirectoryWalk {
    /// Directories inside each other that are entered.
    package static let depthLimit = 256
    /// Longest path that the system opens (PATH_MAX without its terminator).
    package static let pathByteLimit = 4_095

    /// Gets each finding; false ends the walk.
    private let found: (FoundSource) -> Bool
    /// Asked of each directory before its names are read; false leaves it out.
    private let enters: ([UInt8]) -> Bool

    private init(found: @escaping (FoundSource) -> Bool, enters: @escaping ([UInt8]) -> Bool) {
        self.found = found
        self.enters = enters
    }

    /// Walks the directory at an absolute path. A directory that cannot be read is a finding too.
    /// - Parameter enters: asked of each directory, the first one included, before its names are read; false leaves it
    ///   out.
    /// - Returns: false if `found` ended it.
    package static func walk(
        _ path: [UInt8], entering enters: ([UInt8]) -> Bool = { _ in true }, found: (FoundSource) -> Bool
    ) -> Bool {
        withoutActuallyEscaping(found) { found in
            withoutActuallyEscaping(enters) { enters in
                let descriptor = FileSystem.withPath(path) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
                guard descriptor >= 0 else { return found(.skipped(path: path, reason: FileSystem.reason(errno))) }
                return DirectoryWalk(found: found, enters: enters).walk(descriptor, path: path, depth: 1)
            }
        }
    }

    /// What a walk would find of one file; nil for a directory.
    package static func look(at path: [UInt8]) -> FoundSource? {
        var result: FoundSource?
        withoutActuallyEscaping({ (found: FoundSource) in
            result = found
            return true
        }) { found in
            // As deep as a walk goes: a directory is not entered.
            _ = DirectoryWalk(found: found, enters: { _ in false }).visit(path, in: AT_FDCWD, path: [], depth: 1)
        }
        return result
    }

    /// Walks an open directory and closes it.
    private func walk(_ descriptor: CInt, path: [UInt8], depth: Int) -> Bool {
        guard let stream = fdopendir(descriptor) else {
            let reason = FileSystem.reason(errno)
            close(descriptor)
            return found(.skipped(path: path, reason: reason))
        }
        defer { closedir(stream) }
        guard enters(path) else { return true }
        let (names, failure) = NameList.read(stream)
        if let failure, !found(.skipped(path: path, reason: "only partly listed: \(failure)")) { return false }
        for index in names.order {
            if !visit(names[index], in: dirfd(stream), path: path, depth: depth) { return false }
        }
        return true
    }

    private func visit(_ name: [UInt8], in directory: CInt, path: [UInt8], depth: Int) -> Bool {
        let full = path.isEmpty ? name : RawPath.join(path, name)
        func skip(_ reason: String) -> Bool { found(.skipped(path: full, reason: reason)) }
        guard full.count <= Self.pathByteLimit else { return skip("the path is too long") }
        guard let own = FileFacts.look(at: name, in: directory, followLinks: false) else {
            return skip(FileSystem.reason(errno))
        }
        if own.kind == .directory {
            guard depth < Self.depthLimit else { return skip("more than \(Self.depthLimit) directories deep") }
            let descriptor = FileSystem.withPath(name) {
                openat(directory, $0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            }
            guard descriptor >= 0 else { return skip(FileSystem.reason(errno)) }
            return walk(descriptor, path: full, depth: depth + 1)
        }
        var facts = own
        if own.kind == .symbolicLink {
            guard let target = FileFacts.look(at: name, in: directory, followLinks: true) else {
                return skip(errno == ENOENT ? "a symbolic link to nothing" : FileSystem.reason(errno))
            }
            if target.kind == .directory { return skip("a symbolic link to a directory is not followed") }
            facts = target
        }
        guard facts.kind == .regular else { return skip("not a regular file") }
        if !ImageSniff.hasImageExtension(name) {
            guard let start = FileSystem.firstBytes(of: name, in: directory, count: ImageSniff.byteCount) else {
                return skip(FileSystem.reason(errno))
            }
            guard ImageSniff.isImage(start) else { return skip("not an image") }
        }
        return found(.file(path: full, fingerprint: facts.fingerprint))
    }
}

/// The names of one directory in one block of memory: a million of them cost their bytes and twelve more each.
private struct NameList {
    private var bytes: [UInt8] = []
    private var starts: [Int] = [0]
    /// Positions in the order of the full paths: a directory sorts as if its name ended with "/".
    private(set) var order: [Int32] = []

    subscript(index: Int32) -> [UInt8] {
        let range = starts[Int(index)]..<starts[Int(index) + 1]
        return Array(bytes[range.lowerBound..<range.upperBound - 1])
    }

    /// Reads and sorts all names but `.` and `..`; says so if the directory broke off.
    static func read(_ stream: OpaquePointer) -> (NameList, failure: String?) {
        var list = NameList()
        var failure: String?
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { failure = FileSystem.reason(errno) }
                break
            }
            guard list.order.count < Int(Int32.max) else {
                failure = "too many names"
                break
            }
            list.append(entry)
        }
        list.sort()
        return (list, failure)
    }

    private mutating func append(_ entry: UnsafeMutablePointer<dirent>) {
        // d_name may be longer than its declared 256 bytes on some file systems: it is read where it lies.
        guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return }
        let name = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: UInt8.self)
        let count = strlen(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
        let slice = UnsafeBufferPointer(start: name, count: count)
        if slice.elementsEqual([RawPath.dot]) || slice.elementsEqual([RawPath.dot, RawPath.dot]) { return }
        bytes.append(contentsOf: slice)
        bytes.append(entry.pointee.d_type == UInt8(DT_DIR) ? RawPath.slash : 0)
        order.append(Int32(starts.count - 1))
        starts.append(bytes.count)
    }

    private mutating func sort() {
        let (bytes, starts) = (bytes, starts)
        bytes.withUnsafeBufferPointer { bytes in
            order.sort { left, right in
                let first = bytes[starts[Int(left)]..<starts[Int(left) + 1]]
                let second = bytes[starts[Int(right)]..<starts[Int(right) + 1]]
                return first.lexicographicallyPrecedes(second)
            }
        }
    }
}
