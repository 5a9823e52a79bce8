// The content of a gzip file as it is read: data files of an S3 Inventory.

internal import CInflate

extension ByteSource {
    /// Gives what the gzip members of `source` hold, in pieces of at most 64 KiB. `name` is for messages.
    static func gunzip(_ source: ByteSource, name: String) throws(SubmissionError) -> ByteSource {
        guard let stream = GzipStream() else { throw SubmissionError("no memory to read \(name)") }
        var input: [UInt8] = []
        var position = 0
        var isInside = false
        var hasBegun = false
        return ByteSource { () throws(SubmissionError) in
            while true {
                if position == input.count {
                    input = try source.read()
                    position = 0
                    if input.isEmpty {
                        guard !isInside, hasBegun else {
                            throw SubmissionError("\(name) breaks off inside of its gzip")
                        }
                        return []
                    }
                }
                let step = stream.step(input[position...])
                position += step.taken
                hasBegun = true
                switch step.status {
                case GZIP_MORE: isInside = true
                case GZIP_ENDED: isInside = false
                case GZIP_NO_MEMORY: throw SubmissionError("no memory to read \(name)")
                default: throw SubmissionError("\(name) is no gzip file, or is damaged")
                }
                if !step.output.isEmpty { return step.output }
                guard step.taken > 0 || step.status == GZIP_ENDED else {
                    throw SubmissionError("\(name) is no gzip file, or is damaged")
                }
            }
        }
    }
}

/// Owns zlib's state.
private final class GzipStream {
    private let stream: OpaquePointer

    init?() {
        guard let opened = gzip_open() else { return nil }
        stream = opened
    }

    deinit { gzip_close(stream) }

    func step(_ input: ArraySlice<UInt8>) -> (status: Int, taken: Int, output: [UInt8]) {
        var taken = 0
        var status = Int(GZIP_DAMAGED)
        let output = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
            input.withUnsafeBufferPointer { bytes in
                status = Int(
                    gzip_step(stream, bytes.baseAddress, bytes.count, &taken, buffer.baseAddress, buffer.count, &count))
            }
        }
        return (status, taken, output)
    }
}
