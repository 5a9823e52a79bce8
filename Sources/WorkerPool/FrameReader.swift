// Frames out of a stream that arrives in pieces.

/// Collects bytes and takes whole frames off their front. Holds at most one frame beyond what was asked for: memory
/// follows the bytes that arrived, never a length that was only claimed.
package struct FrameReader: Sendable {
    private var bytes: [UInt8] = []
    private var position = 0

    package init() {}

    /// Whether bytes of an unfinished frame are held.
    package var isInsideFrame: Bool { position < bytes.count }

    package mutating func append(_ piece: UnsafeRawBufferPointer) { bytes.append(contentsOf: piece) }

    /// The next whole frame, nil when more bytes are needed.
    ///
    /// After an error the stream has no meaning any more: the reader throws it again.
    package mutating func next() throws(FrameError) -> Frame? {
        guard bytes.count - position >= Frame.headerByteCount else { return nil }
        let start = position + Frame.headerByteCount
        let header = try Frame.header(bytes[position..<start])
        guard bytes.count - start >= header.byteCount else { return nil }
        let frame = try Frame.decode(header.kind, bytes[start..<(start + header.byteCount)])
        position = start + header.byteCount
        if position == bytes.count {
            // A large result must not stay in memory for the life of a slot.
            bytes.removeAll(keepingCapacity: bytes.count <= Int(Frame.smallByteCount))
            position = 0
        }
        return frame
    }
}
