// RFC 4180, read in pieces: quoted fields with commas, quotes and line ends in them; CRLF or LF; a byte-order mark.
//
// States: fieldStart → plain | quoted | fieldStart (empty field); quoted → quoteInQuoted; quoteInQuoted → quoted (a
// doubled quote) | fieldStart (the field ended) | broken; plain → fieldStart | broken; broken → fieldStart at the next
// line end. A broken row is reported, and reading goes on after it.

/// A push parser of CSV. It never traps and keeps at most one row.
package struct CSVReader {
    /// A row as it was read.
    package enum Row: Hashable, Sendable {
        case fields([[UInt8]])
        case broken(String)
    }

    /// Longest field and most fields of a row; what is longer is a broken row.
    package static let fieldByteLimit = 64 << 10
    package static let fieldCountLimit = 1_000

    private enum State { case fieldStart, plain, quoted, quoteInQuoted, broken }

    private var state = State.fieldStart
    private var fields: [[UInt8]] = []
    private var field: [UInt8] = []
    private var complaint = ""
    private var line = 1
    private var rowLine = 1
    private var isRowEmpty = true
    private var markPosition = 0
    /// A carriage return that may be the first half of a line end.
    private var hasPendingReturn = false

    package init() {}

    /// Takes the next bytes; calls `body` with each row that ended and the line it began on. Empty lines are no rows.
    /// - Returns: false if `body` returned false.
    package mutating func feed(_ bytes: [UInt8], body: (Row, Int) throws(SubmissionError) -> Bool)
        throws(SubmissionError) -> Bool
    {
        for byte in bytes {
            if isMark(byte) { continue }
            guard try take(byte, body) else { return false }
        }
        return true
    }

    /// Ends the input: the last row may lack its line end.
    package mutating func finish(body: (Row, Int) throws(SubmissionError) -> Bool) throws(SubmissionError) -> Bool {
        if hasPendingReturn {
            hasPendingReturn = false
            append(0x0D)
        }
        if state == .quoted {
            state = .broken
            complaint = "a quoted field does not end"
        }
        return isRowEmpty ? true : try endRow(body)
    }

    private mutating func isMark(_ byte: UInt8) -> Bool {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        guard markPosition < 3 else { return false }
        guard byte == mark[markPosition] else {
            // Bytes of a mark that did not go on are the field's.
            if markPosition > 0 {
                field += mark[..<markPosition]
                state = .plain
                isRowEmpty = false
            }
            markPosition = 3
            return false
        }
        markPosition += 1
        return true
    }

    private mutating func take(
        _ byte: UInt8, _ body: (Row, Int) throws(SubmissionError) -> Bool
    ) throws(SubmissionError) -> Bool {
        if byte == 0x0A { line += 1 }
        if hasPendingReturn {
            hasPendingReturn = false
            if byte != 0x0A { append(0x0D) }
        }
        switch (state, byte) {
        case (.quoted, UInt8(ascii: "\"")):
            state = .quoteInQuoted
        case (.quoted, _):
            append(byte)
        case (_, 0x0A):
            return try endRow(body)
        case (.broken, _):
            break
        case (_, 0x0D):
            hasPendingReturn = true
        case (_, UInt8(ascii: ",")):
            endField()
        case (.fieldStart, UInt8(ascii: "\"")):
            state = .quoted
            isRowEmpty = false
        case (.quoteInQuoted, UInt8(ascii: "\"")):
            state = .quoted
            append(byte)
        case (.fieldStart, _), (.plain, _), (.quoteInQuoted, _):
            append(byte)
        }
        return true
    }

    private mutating func append(_ byte: UInt8) {
        isRowEmpty = false
        switch state {
        case .broken:
            return
        case .quoteInQuoted:
            fail("text after the closing quote of a field")
        case .fieldStart, .plain, .quoted:
            guard field.count < Self.fieldByteLimit else { return fail("a field of more than 64 KiB") }
            field.append(byte)
            if state == .fieldStart { state = .plain }
        }
    }

    private mutating func fail(_ reason: String) {
        complaint = reason
        state = .broken
        field = []
        fields = []
    }

    private mutating func endField() {
        isRowEmpty = false
        guard fields.count < Self.fieldCountLimit else { return fail("more than \(Self.fieldCountLimit) fields") }
        fields.append(field)
        field.removeAll(keepingCapacity: true)
        state = .fieldStart
    }

    private mutating func endRow(_ body: (Row, Int) throws(SubmissionError) -> Bool) throws(SubmissionError) -> Bool {
        let began = rowLine
        let wasEmpty = isRowEmpty
        if state != .broken, !wasEmpty { endField() }
        let row = state == .broken ? Row.broken(complaint) : .fields(fields)
        state = .fieldStart
        fields = []
        field = []
        isRowEmpty = true
        rowLine = line
        return wasEmpty ? true : try body(row, began)
    }
}
