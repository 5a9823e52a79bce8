// Paths as bytes. A path of Linux is any bytes but NUL; nothing here goes through String.

/// Operations on paths that are bytes.
package enum RawPath {
    static let slash = UInt8(ascii: "/")
    static let dot = UInt8(ascii: ".")

    /// `path` made absolute against the absolute `base`, with empty, `.` and `..` components resolved without looking
    /// at the disk.
    package static func absolute(_ path: [UInt8], base: [UInt8]) -> [UInt8] {
        var components: [ArraySlice<UInt8>] = []
        func append(_ bytes: [UInt8]) {
            for component in bytes.split(separator: slash) {
                if component.elementsEqual([dot]) { continue }
                if component.elementsEqual([dot, dot]) {
                    _ = components.popLast()
                } else {
                    components.append(component)
                }
            }
        }
        if path.first != slash { append(base) }
        append(path)
        if components.isEmpty { return [slash] }
        var result: [UInt8] = []
        for component in components {
            result.append(slash)
            result += component
        }
        return result
    }

    /// The folder that holds an absolute path.
    package static func folder(of path: [UInt8]) -> [UInt8] {
        guard let last = path.lastIndex(of: slash), last > 0 else { return [slash] }
        return Array(path[..<last])
    }

    /// `name` inside `folder`.
    package static func join(_ folder: [UInt8], _ name: some Collection<UInt8>) -> [UInt8] {
        folder.last == slash ? folder + name : folder + [slash] + name
    }

    /// The last component.
    package static func name(of path: [UInt8]) -> ArraySlice<UInt8> {
        path[(path.lastIndex(of: slash).map { $0 + 1 } ?? 0)...]
    }
}
