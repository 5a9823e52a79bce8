// The environment and the terminal, as the system has them.

import Glibc

/// Variables of the environment as bytes.
enum RawEnvironment {
    static func value(_ name: String) -> [UInt8]? {
        guard let value = getenv(name) else { return nil }
        return UnsafeBufferPointer(start: value, count: strlen(value)).map { UInt8(bitPattern: $0) }
    }
}

/// The terminal that a command may have.
enum Terminal {
    /// Whether a stream is a terminal that can redraw lines.
    static func isInteractive(_ descriptor: CInt) -> Bool {
        guard isatty(descriptor) == 1 else { return false }
        return RawEnvironment.value("TERM").map { $0 != Array("dumb".utf8) } ?? false
    }

    /// Whether colours are wanted on a stream (NO_COLOR, https://no-color.org).
    static func usesColor(_ descriptor: CInt) -> Bool {
        isInteractive(descriptor) && (RawEnvironment.value("NO_COLOR")?.isEmpty ?? true)
    }

    /// Lines of the terminal at a stream; nil where it is none.
    static func height(_ descriptor: CInt) -> Int? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else { return nil }
        return Int(size.ws_row)
    }

    /// Columns of the terminal at a stream; 100 where it is none.
    static func width(_ descriptor: CInt) -> Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 100 }
        return Int(size.ws_col)
    }
}
