// The messages' fields in the order in which they are written.

import ClusterModel

extension ImageLimits {
    func write(to writer: inout ByteWriter) {
        for value in [pixels, bytes, pages, side] { writer.integer(Int64(value)) }
    }

    init?(from reader: inout ByteReader) {
        var values: [Int] = []
        for _ in 0..<4 {
            guard let value = reader.integer(Int64.self), value >= 0 else { return nil }
            values.append(Int(value))
        }
        self.init(pixels: values[0], bytes: values[1], pages: values[2], side: values[3])
    }
}

extension WorkerHello {
    func write(to writer: inout ByteWriter) {
        writer.integer(protocolVersion)
        writer.integer(UInt32(clamping: slot))
        writer.integer(parentPID)
        writer.string(tessdata)
        writer.integer(Int8(clamping: niceness))
        writer.integer(memoryLimitBytes)
        writer.integer(softDeadlineMs)
        writer.integer(cpuLimitSeconds)
        limits.write(to: &writer)
        writer.integer(sandbox.rawValue)
    }

    init?(from reader: inout ByteReader) {
        guard let version = reader.integer(UInt16.self), let slot = reader.integer(UInt32.self),
            let parentPID = reader.integer(Int32.self), let tessdata = reader.string(),
            let niceness = reader.integer(Int8.self), let memory = reader.integer(UInt64.self),
            let soft = reader.integer(UInt32.self), let cpu = reader.integer(UInt32.self),
            let limits = ImageLimits(from: &reader),
            let sandbox = reader.integer(UInt8.self).flatMap(SandboxPolicy.init(rawValue:))
        else { return nil }
        self.init(
            slot: Int(slot), parentPID: parentPID, tessdata: tessdata, niceness: Int(niceness),
            memoryLimitBytes: memory, softDeadlineMs: soft, cpuLimitSeconds: cpu, limits: limits, sandbox: sandbox)
        protocolVersion = version
    }
}

extension WorkerReady {
    func write(to writer: inout ByteWriter) {
        writer.integer(protocolVersion)
        writer.integer(sandbox.policy.rawValue)
        for value in [sandbox.landlockABI, sandbox.landlockError, sandbox.seccompError] {
            writer.integer(Int32(clamping: value))
        }
        for value in [sandbox.seccomp, sandbox.noNewPrivileges, sandbox.noCapabilities] { writer.flag(value) }
    }

    init?(from reader: inout ByteReader) {
        guard let version = reader.integer(UInt16.self),
            let policy = reader.integer(UInt8.self).flatMap(SandboxPolicy.init(rawValue:)),
            let landlock = reader.integer(Int32.self), let landlockError = reader.integer(Int32.self),
            let seccompError = reader.integer(Int32.self), let seccomp = reader.flag(),
            let noNewPrivileges = reader.flag(), let noCapabilities = reader.flag()
        else { return nil }
        self.init(
            sandbox: SandboxReport(
                policy: policy, landlockABI: Int(landlock), seccomp: seccomp, noNewPrivileges: noNewPrivileges,
                noCapabilities: noCapabilities, landlockError: Int(landlockError), seccompError: Int(seccompError)))
        protocolVersion = version
    }
}

extension WorkerRequest {
    func write(to writer: inout ByteWriter) {
        writer.integer(key.bits.high)
        writer.integer(key.bits.low)
        writer.string(language)
        writer.integer(Int32(clamping: profile.pageSegmentationMode))
        writer.integer(Int32(clamping: profile.dpi ?? 0))
        writer.string(profile.outputs.map(\.rawValue).joined(separator: ","))
        switch pages {
        case .all:
            writer.integer(UInt32(0))
            writer.integer(UInt32(0))
        case .pages(let first, let last):
            writer.integer(UInt32(clamping: first))
            writer.integer(UInt32(clamping: last))
        }
        limits.write(to: &writer)
    }

    init?(from reader: inout ByteReader) {
        guard let high = reader.integer(UInt64.self), let low = reader.integer(UInt64.self),
            let language = reader.string(), let mode = reader.integer(Int32.self), let dpi = reader.integer(Int32.self),
            let outputNames = reader.string(), let first = reader.integer(UInt32.self),
            let last = reader.integer(UInt32.self), let limits = ImageLimits(from: &reader)
        else { return nil }
        var outputs: [Profile.Output] = []
        for name in outputNames.split(separator: ",") {
            guard let output = Profile.Output(rawValue: String(name)) else { return nil }
            outputs.append(output)
        }
        self.init(
            key: JobKey(Bits128(high: high, low: low)), language: language,
            profile: Profile(pageSegmentationMode: Int(mode), dpi: dpi > 0 ? Int(dpi) : nil, outputs: outputs),
            pages: first == 0 ? .all : .pages(first: Int(first), last: Int(last)), limits: limits)
    }
}
