// `credential_process` of a profile: a program that prints credentials as JSON.

import Foundation
internal import Glibc

enum CredentialProcess {
    static let patience = Duration.seconds(60)

    /// Runs the command by the shell, as AWS's own programs do, and reads what it prints. What it complains of is not
    /// kept: it may hold a secret.
    static func run(
        _ command: String, _ context: CredentialContext, profile: String, patience: Duration = patience
    ) async throws(CredentialError) -> Credentials {
        let place = "credential_process of profile \(profile)"
        let environment = context.environment
        let outcome: Result<[UInt8], CredentialError> = await withCheckedContinuation { continuation in
            // Reading blocks: a thread of its own.
            Thread.detachNewThread {
                continuation.resume(returning: output(of: command, environment, place, patience))
            }
        }
        let bytes = try outcome.get()
        let credentials = try CredentialDocument.credentials(bytes, from: place)
        if (try? JSONDecoder().decode(CredentialDocument.self, from: Data(bytes)))?.version != 1 {
            throw CredentialError("\(place): the answer has not \"Version\": 1")
        }
        return credentials
    }

    private static func output(
        of command: String, _ environment: [String: String], _ place: String, _ patience: Duration
    ) -> Result<[UInt8], CredentialError> {
        let process = Process()
        // A child inherits the blocked signals of this thread: `env` undoes it. A session of its own is ended whole.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["--default-signal", "/usr/bin/setsid", "-w", "/bin/sh", "-c", command]
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        let pipe = Pipe()
        process.standardOutput = pipe
        do { try process.run() } catch {
            return .failure(CredentialError("\(place) cannot be started: \(error.localizedDescription)"))
        }
        let read = drain(pipe.fileHandleForReading.fileDescriptor, until: .now + patience)
        guard case .success(let bytes) = read else {
            end(process)
            return read.mapError { CredentialError("\(place) \($0.text)") }
        }
        let end = ContinuousClock.now + .seconds(2)
        while process.isRunning, ContinuousClock.now < end { poll(nil, 0, 5) }
        guard !process.isRunning else {
            self.end(process)
            return .failure(CredentialError("\(place) closed its output and did not end"))
        }
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            return .failure(
                CredentialError("\(place) failed (exit \(process.terminationStatus)): run it by hand to see why"))
        }
        return .success(bytes)
    }

    /// Reads to the end of the output, which is bounded in size and time.
    private static func drain(
        _ file: CInt, until end: ContinuousClock.Instant
    ) -> Result<[UInt8], CredentialError> {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let left = (end - ContinuousClock.now) / .milliseconds(1)
            guard left > 0 else { return .failure(CredentialError("did not end in time")) }
            var ready = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, CInt(min(left, 1_000)) + 1) > 0 else { continue }
            let count = read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return .success(bytes) }
            bytes += buffer[..<count]
            if bytes.count > CredentialContext.byteCount {
                return .failure(CredentialError("prints more than \(CredentialContext.byteCount) bytes"))
            }
        }
    }

    /// Ends what still runs; nothing of it stays. `setsid -w` waits in this process's own group, its child leads another.
    private static func end(_ process: Process) {
        guard process.isRunning else { return }
        let waiting = process.processIdentifier
        for child in children(of: waiting) { kill(-child, SIGKILL) }
        kill(waiting, SIGKILL)
        process.waitUntilExit()
    }

    private static func children(of process: pid_t) -> [pid_t] {
        let path = "/proc/\(process)/task/\(process)/children"
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: " ").compactMap { pid_t($0) }
    }
}
