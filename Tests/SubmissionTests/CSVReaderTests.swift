import ClusterModel
import Submission
import Testing

@Suite struct CSVReaderTests {
    private func rows(_ bytes: [UInt8], pieceSize: Int) throws -> [CSVReader.Row] {
        var reader = CSVReader()
        var rows: [CSVReader.Row] = []
        var position = 0
        while position < bytes.count {
            let end = min(position + pieceSize, bytes.count)
            _ = try reader.feed(Array(bytes[position..<end])) { row, _ in
                rows.append(row)
                return true
            }
            position = end
        }
        _ = try reader.finish { row, _ in
            rows.append(row)
            return true
        }
        return rows
    }

    private func texts(_ text: String) throws -> [[String]] {
        try rows(Array(text.utf8), pieceSize: 3).map { row in
            guard case .fields(let fields) = row else { return ["BROKEN"] }
            return fields.map { String(decoding: $0, as: UTF8.self) }
        }
    }

    @Test func `reads quotes, commas, line ends and empty fields as RFC 4180 says`() throws {
        #expect(try texts("a,b\r\n\"x,\"\"y\"\"\r\nz\",\r\n") == [["a", "b"], ["x,\"y\"\r\nz", ""]])
        #expect(try texts("a\n\n\nb") == [["a"], ["b"]])
        #expect(try texts("\u{FEFF}source\n") == [["source"]])
        #expect(try texts("\"\"\n,\n") == [[""], ["", ""]])
        #expect(try texts("a\rb\n") == [["a\rb"]])
    }

    @Test func `a broken row does not take the next with it`() throws {
        #expect(try texts("\"a\"b,c\nd\n") == [["BROKEN"], ["d"]])
        #expect(try texts("a\n\"never closed\nx\n") == [["a"], ["BROKEN"]])
    }

    @Test func `any bytes in any pieces give the same rows and never trap`() throws {
        var generator = SeededGenerator(seed: 5)
        let alphabet: [UInt8] = [0x22, 0x2C, 0x0A, 0x0D, 0x61, 0xFF, 0xEF, 0xBB, 0xBF, 0x00]
        for _ in 0..<3_000 {
            let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0
            }
            let whole = try rows(bytes, pieceSize: 64)
            #expect(try rows(bytes, pieceSize: 1) == whole)
        }
    }

    @Test func `what CSV is written is read back`() throws {
        var generator = SeededGenerator(seed: 6)
        let alphabet: [UInt8] = [0x22, 0x2C, 0x0A, 0x0D, 0x61, 0xFF]
        for _ in 0..<2_000 {
            let fields = (0..<3).map { _ in
                (0..<Int.random(in: 1..<6, using: &generator)).map { _ in alphabet.randomElement(using: &generator) ?? 0
                }
            }
            var bytes: [UInt8] = []
            for (index, field) in fields.enumerated() {
                if index > 0 { bytes.append(0x2C) }
                bytes += [0x22] + field.flatMap { $0 == 0x22 ? [$0, $0] : [$0] } + [0x22]
            }
            #expect(try rows(bytes + [0x0D, 0x0A], pieceSize: 7) == [.fields(fields)])
        }
    }

    @Test func `endless fields and rows are bounded`() throws {
        let long = try rows([UInt8](repeating: 0x61, count: 200_000) + [0x0A, 0x62, 0x0A], pieceSize: 4_096)
        #expect(long == [.broken("a field of more than 64 KiB"), .fields([[0x62]])])
        let wide = try rows([UInt8](repeating: 0x2C, count: 5_000), pieceSize: 4_096)
        #expect(wide == [.broken("more than 1000 fields")])
    }
}
