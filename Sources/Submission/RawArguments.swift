// The arguments of the process as bytes. Swift repairs what is not UTF-8 in `CommandLine.arguments`; file names that
// people chose would be lost.

internal import Glibc

/// Finds the bytes of arguments that were parsed as (repaired) text.
package struct RawArguments: Sendable {
    private let raw: [[UInt8]]

    /// - Parameter raw: the arguments as the system gave them.
    package init(_ raw: [[UInt8]]) { self.raw = raw }

    /// Those of this process.
    package static let process = RawArguments(
        (0..<Int(CommandLine.argc)).compactMap { index in
            CommandLine.unsafeArgv[index].map { start in
                UnsafeBufferPointer(start: start, count: strlen(start)).map { UInt8(bitPattern: $0) }
            }
        })

    /// The bytes of each text, in order. The n-th text that was repaired to some form is the n-th argument of that form.
    package func bytes(of texts: [String]) -> [[UInt8]] {
        var uses: [[UInt8]: Int] = [:]
        return texts.map { text in
            let form = Array(text.utf8)
            let use = uses[form, default: 0]
            uses[form] = use + 1
            let candidates = candidates(form)
            return candidates.isEmpty ? form : candidates[min(use, candidates.count - 1)]
        }
    }

    /// The bytes of one text.
    package func bytes(of text: String) -> [UInt8] { bytes(of: [text])[0] }

    /// Arguments, and values of `--option=value`, that are not UTF-8 and are repaired to `form`.
    private func candidates(_ form: [UInt8]) -> [[UInt8]] {
        let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]
        // Only a text with a replacement character can have been repaired.
        guard form.indices.contains(where: { form[$0...].starts(with: replacement) }) else { return [] }
        return raw.compactMap { argument in
            if matches(argument, form) { return argument }
            guard argument.starts(with: Array("-".utf8)), let equals = argument.firstIndex(of: UInt8(ascii: "=")) else {
                return nil
            }
            let value = Array(argument[(equals + 1)...])
            return matches(value, form) ? value : nil
        }
    }

    private func matches(_ argument: [UInt8], _ form: [UInt8]) -> Bool {
        Array(String(decoding: argument, as: UTF8.self).utf8) == form
    }
}
