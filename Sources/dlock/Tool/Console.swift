import Foundation

/// Standard output and standard error.
enum Console {
    static let isErrorTerminal = isatty(2) == 1
    static let isOutputTerminal = isatty(1) == 1

    /// Whether output may have colours: on a terminal, and not against NO_COLOR (https://no-color.org).
    static let hasColours = isOutputTerminal && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty

    static func complain(_ message: String) {
        Self.write("dlock: \(message)\n", to: 2)
    }

    static func print(_ text: String) {
        Self.write(text + "\n", to: 1)
    }

    static func bold(_ text: String) -> String { Self.hasColours ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
    static func dim(_ text: String) -> String { Self.hasColours ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

    /// Shows a line that is replaced by the next one. On a terminal only.
    static func showPassing(_ line: String) {
        guard Self.isErrorTerminal else { return }
        var size = winsize()
        let width = ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
        Self.write("\r\u{1B}[K" + String(line.prefix(width - 1)), to: 2)
    }

    static func clearPassing() {
        if Self.isErrorTerminal { Self.write("\r\u{1B}[K", to: 2) }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            // A reader that went away (a closed pipe) is no reason to fail.
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
