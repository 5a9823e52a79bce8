// `node keys`: exchanges the key of a running cluster without an interruption (add everywhere, use, remove).

import ArgumentParser
import Foundation
package import Results
package import Wire

/// `node keys`.
package struct KeysCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "Lists and exchanges the cluster's keys while it runs.",
        discussion: """
            A rotation: add the new key everywhere, use it, then remove the old one. Each step is told to every member; \
            nothing is changed when one cannot be reached, unless --force is given.

            Exit code 0: every member did it; 1: failed; 2: some members did not; 3: refused, nothing was changed.

            Example: node keygen new.key && node keys add new.key && node keys list
            """,
        subcommands: [KeysListCommand.self, KeysAddCommand.self, KeysUseCommand.self, KeysRemoveCommand.self])

    package init() {}
}

/// What all of them take.
package struct KeysOptions: ParsableArguments {
    @OptionGroup package var client: ClientOptions

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    func run(_ request: Ocr_V1_KeysRequest, verb: String?) async throws -> Int32 {
        let report = KeysReport(try await client.withNode { try await $0.keys(request) }, verb: verb)
        if json {
            Output.resultLine(report.json.line)
        } else {
            for line in report.lines { Output.resultLine(line) }
            for line in report.failureLines { Output.message(line) }
        }
        return report.exitCode
    }
}

package struct KeysListCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Shows which keys the members accept, and which they send with.",
        discussion: "Example: node keys list")

    @OptionGroup package var options: KeysOptions

    package init() {}

    package func run() async throws {
        try await runCommand {
            var request = Ocr_V1_KeysRequest()
            request.list = true
            return try await options.run(request, verb: nil)
        }
    }
}

package struct KeysAddCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Lets every member accept one more key.",
        discussion: "Example: node keys add new.key")

    @Argument(help: "The key file, as `node keygen` writes it.") package var file: String
    @Flag(help: "Go on although some members cannot be reached.") package var force = false
    @OptionGroup package var options: KeysOptions

    package init() {}

    package func run() async throws {
        try await runCommand {
            let key = try KeyFile.read(file)
            var request = Ocr_V1_KeysRequest()
            request.add = Data(key.bytes)
            request.force = force
            return try await options.run(request, verb: "accept key \(key.digest)")
        }
    }
}

package struct KeysUseCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "use", abstract: "Lets every member send with a key that all accept.",
        discussion: "Example: node keys use 5f0c21aa")

    @OptionGroup package var target: KeyTarget
    @OptionGroup package var options: KeysOptions

    package init() {}

    package func run() async throws {
        try await runCommand {
            var request = target.request
            request.use = target.digest
            return try await options.run(request, verb: "send with key \(target.digest)")
        }
    }
}

package struct KeysRemoveCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Lets no member accept a key any longer.",
        discussion: "Example: node keys remove 5f0c21aa")

    @OptionGroup package var target: KeyTarget
    @OptionGroup package var options: KeysOptions

    package init() {}

    package func run() async throws {
        try await runCommand {
            var request = target.request
            request.remove = target.digest
            return try await options.run(request, verb: "no longer accept key \(target.digest)")
        }
    }
}

/// The key that is meant, by its digest.
package struct KeyTarget: ParsableArguments {
    @Argument(help: "The key's digest, as `node keys list` shows it, or a unique beginning of it.")
    package var digest: String

    @Flag(help: "Go on although some members cannot be reached.") package var force = false

    /// Hexadecimal digits of a digest.
    private static let digitCount = 16

    package init() {}

    package func validate() throws {
        guard (1...Self.digitCount).contains(digest.utf8.count), digest.allSatisfy({ $0.isASCII && $0.isHexDigit })
        else {
            throw ValidationError(
                "'\(digest)' is no digest of a key: at most 16 hexadecimal digits; see `node keys list`.")
        }
    }

    var request: Ocr_V1_KeysRequest {
        var request = Ocr_V1_KeysRequest()
        request.force = force
        return request
    }
}

/// Reads key files.
enum KeyFile {
    /// Far above the 65 bytes of a key file.
    private static let byteLimit = 4_096

    /// Throws `CommandFailure` when the file cannot be read or holds no key.
    static func read(_ path: String) throws -> ClusterKey {
        guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: byteLimit) else {
            throw CommandFailure(
                "the key file \(HumanText.printable(path)) cannot be read: \(String(cString: strerror(errno)))",
                hint: "`node keygen FILE` makes one", exitCode: 3)
        }
        guard let key = ClusterKey(text: String(decoding: data, as: UTF8.self)) else {
            throw CommandFailure(
                "\(HumanText.printable(path)) is not a cluster key: 64 hexadecimal digits are expected",
                hint: "`node keygen FILE` makes one", exitCode: 3)
        }
        return key
    }
}

/// What the members answered about their keys.
package struct KeysReport: Sendable {
    private let response: Ocr_V1_KeysResponse
    /// What the members were told to do, "send with key 5f0c…"; nil when they were only asked.
    private let verb: String?

    package init(_ response: Ocr_V1_KeysResponse, verb: String?) {
        self.response = response
        self.verb = verb
    }

    /// 0: all members; 2: some did not (or did not answer); 3: none did.
    package var exitCode: Int32 {
        if response.failures.isEmpty { return 0 }
        return verb != nil && response.changed == 0 ? 3 : 2
    }

    package var json: JSONValue {
        .object([
            (
                "keys",
                .array(
                    response.keys.map { key in
                        .object([
                            ("digest", .text(key.digest)), ("accepted_by", .unsigned(key.acceptedBy)),
                            ("used_by", .unsigned(key.usedBy)),
                        ])
                    })
            ),
            ("members", .unsigned(response.members)),
            ("changed", verb == nil ? .null : .unsigned(response.changed)),
            (
                "failures",
                .array(
                    response.failures.map { .object([("node", .text($0.node)), ("reason", .text($0.reason))]) })
            ),
        ])
    }

    /// The table, under what was done.
    package var lines: [String] {
        var table = TextTable([.text("KEY"), .text("ACCEPTED BY"), .text("USED BY")])
        for key in response.keys {
            table.add([
                HumanText.printable(key.digest), "\(key.acceptedBy) of \(response.members)",
                "\(key.usedBy) of \(response.members)",
            ])
        }
        let done = verb.map { ["\(response.changed) of \(response.members) members now \($0)"] } ?? []
        return done + table.lines
    }

    package var failureLines: [String] {
        response.failures.map { "\(HumanText.printable($0.node)): \(HumanText.printable($0.reason))" }
    }
}
