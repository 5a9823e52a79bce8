// What a result has besides its text, packed with Zstandard.

internal import CZstandard
internal import ClusterModel
internal import FoundationEssentials

/// Packs and unpacks `OutputBody`.
enum OutputCodec {
    /// Throws when there is no memory for it.
    static func encode(_ output: OutputBody) throws(ResultCodecError) -> Ocr_V1_OutputMessage {
        let packed = [UInt8](unsafeUninitializedCapacity: zstandard_bound(output.bytes.count)) { buffer, count in
            count = zstandard_pack(output.bytes, output.bytes.count, buffer.baseAddress, buffer.count)
        }
        guard !packed.isEmpty else { throw ResultCodecError("output \(output.kind.rawValue) cannot be packed") }
        var message = Ocr_V1_OutputMessage()
        message.kind = output.kind.rawValue
        message.zstandard = .init(packed)
        return message
    }

    /// - Parameter limit: bytes that it may have; no more are allocated, whatever it says of itself.
    static func decode(_ message: Ocr_V1_OutputMessage, limit: Int) throws(ResultCodecError) -> OutputBody {
        let kind = try kind(of: message)
        let packed = Array(message.zstandard)
        let size = zstandard_declared_size(packed, packed.count)
        guard (0...Int64(limit)).contains(size), let byteCount = Int(exactly: size) else {
            throw ResultCodecError("output \(kind.rawValue) that claims \(size) bytes")
        }
        var isSound = false
        let bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            isSound = zstandard_unpack(packed, packed.count, buffer.baseAddress, byteCount) == 0
            count = isSound ? byteCount : 0
        }
        guard isSound else { throw ResultCodecError("output \(kind.rawValue) is damaged") }
        return OutputBody(kind: kind, bytes: bytes)
    }

    static func kind(of message: Ocr_V1_OutputMessage) throws(ResultCodecError) -> Profile.Output {
        guard let kind = Profile.Output(rawValue: message.kind), kind != .text else {
            throw ResultCodecError("an output of a kind that is not known")
        }
        return kind
    }

    /// Whether every kind is there once at most, in the order of `Profile.Output`, and none is the text.
    static func isOrdered(_ kinds: [Profile.Output]) -> Bool {
        kinds == Profile.Output.allCases.filter { $0 != .text && kinds.contains($0) }
    }
}
