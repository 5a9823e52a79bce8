// Files that were written a moment ago, to be sent elsewhere.

import Glibc
internal import Results

/// A file that is read from its beginning to its end.
final class InputFile {
    private let descriptor: CInt

    /// Nil where it cannot be opened.
    init?(_ path: [UInt8]) {
        descriptor = CPathBytes.with(path) { open($0, O_RDONLY | O_CLOEXEC) }
        if descriptor < 0 { return nil }
    }

    deinit { close(descriptor) }

    /// The next bytes: `count`, or fewer at the end. Throws when they cannot be read.
    func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var position = 0
        while position < count {
            let given = bytes.withUnsafeMutableBytes { room in
                Glibc.read(descriptor, room.baseAddress?.advanced(by: position), count - position)
            }
            if given < 0, errno == EINTR { continue }
            guard given >= 0 else { throw CommandFailure("what was exported cannot be read") }
            if given == 0 { break }
            position += given
        }
        return Array(bytes[..<position])
    }
}

/// The files below a folder, by their paths in it; links are none.
final class FolderFiles {
    private let root: [UInt8]
    private var folders: [(stream: OpaquePointer, prefix: [UInt8])] = []

    init(_ root: [UInt8]) {
        self.root = root
        enter([])
    }

    deinit { for folder in folders { closedir(folder.stream) } }

    private func enter(_ prefix: [UInt8]) {
        let path = root + [UInt8(ascii: "/")] + prefix
        if let stream = CPathBytes.with(path, { opendir($0) }) { folders.append((stream, prefix)) }
    }

    func next() -> [UInt8]? {
        while let (stream, prefix) = folders.last {
            guard let entry = readdir(stream) else {
                closedir(stream)
                folders.removeLast()
                continue
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == Array(".".utf8) || name == Array("..".utf8) { continue }
            var facts = stat()
            let path = prefix + name
            guard CPathBytes.with(root + [UInt8(ascii: "/")] + path, { lstat($0, &facts) }) == 0 else { continue }
            if facts.st_mode & S_IFMT == S_IFDIR { enter(path + [UInt8(ascii: "/")]) }
            if facts.st_mode & S_IFMT == S_IFREG { return path }
        }
        return nil
    }
}
