import DistributedLocks
import LockKernel
import Synchronization

/// Standard output and standard error.
///
/// They may be closed, full, or not block: what can be written is written as a whole, and if standard output could not take
/// it the command ends with an error (``failure()``). A reader that went away (a closed pipe) wants no more, and is no
/// error.
enum Console {
    static let isErrorTerminal = isatty(2) == 1
    static let isOutputTerminal = isatty(1) == 1

    /// Whether output may have colours: on a terminal, and not against NO_COLOR (https://no-color.org).
    static let hasColours = isOutputTerminal && (getenv("NO_COLOR").map { $0.pointee == 0 } ?? true)

    private struct State {
        var isShowingPassing = false
        /// Why standard output did not take all.
        var outputError: Int32?
    }

    private static let state = Mutex(State())

    /// Writes one line to standard error. What others have put into it cannot control the terminal.
    static func complain(_ message: String) {
        _ = Self.write("dlock: \(RawText.shown(message).harmless)\n", to: 2)
    }

    /// Writes to standard output, with a line feed at the end. The caller has made harmless what comes from others.
    static func print(_ text: String, terminator: String = "\n") {
        Self.state.withLock { state in
            let error = Self.write(text + terminator, to: 1)
            if error != 0, state.outputError == nil { state.outputError = error }
        }
    }

    /// What is wrong if standard output did not take all that was printed.
    static func failure() -> Failure? {
        guard let error = Self.state.withLock({ $0.outputError }) else { return nil }
        return Failure(
            status: ExitStatus.ioError,
            message: "standard output cannot be written: \(String(cString: strerror(error)))"
        )
    }

    static func bold(_ text: String) -> String { Self.hasColours ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
    static func dim(_ text: String) -> String { Self.hasColours ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

    /// How many columns the terminal of standard error has.
    static var errorWidth: Int {
        var size = winsize()
        return ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Whether a line can be shown that goes away again.
    static let canShowPassing: Bool = {
        let terminal = getenv("TERM").map { String(cString: $0) } ?? ""
        return Self.isErrorTerminal && !terminal.isEmpty && terminal != "dumb"
    }()

    private static let savePlace = "\u{1B}7"
    private static let backToPlace = "\u{1B}8\u{1B}[K"
    // A line that is too long must not go on in the next one, from where nothing brings it back.
    private static let (noWrap, wrap) = ("\u{1B}[?7l", "\u{1B}[?7h")

    /// Shows a line that is replaced by the next one. On a terminal only.
    ///
    /// It begins where the cursor is: what somebody else has begun to write on the line stays.
    static func showPassing(_ line: String) {
        guard Self.canShowPassing else { return }
        Self.state.withLock { state in
            let start = state.isShowingPassing ? Self.backToPlace : Self.savePlace
            state.isShowingPassing = true
            _ = Self.write(start + Self.noWrap + line.harmless.fitted(into: Self.errorWidth - 1) + Self.wrap, to: 2)
        }
    }

    /// Takes the passing line away, if there is one.
    static func clearPassing() {
        Self.state.withLock { state in
            guard state.isShowingPassing else { return }
            state.isShowingPassing = false
            _ = Self.write(Self.backToPlace, to: 2)
        }
    }

    /// Writes all of a text. Returns 0 or an errno.
    static func write(_ text: String, to descriptor: Int32) -> Int32 {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if written >= 0 {
                rest = rest.dropFirst(written)
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                Self.wait(for: descriptor, POLLOUT)
            } else if errno == EPIPE {
                return 0
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }

    /// Reads some of standard input. Returns how much; 0 at its end, less than that with `errno`.
    static func read(into buffer: inout [UInt8]) -> Int {
        while true {
            let count = systemRead(0, &buffer, buffer.count)
            guard count < 0 else { return count }
            if errno == EAGAIN || errno == EWOULDBLOCK {
                Self.wait(for: 0, POLLIN)
            } else if errno != EINTR {
                return count
            }
        }
    }

    /// One line of standard input, without its line feed; `nil` at its end.
    static func readLine() -> String? {
        var line: [UInt8] = []
        var byte: [UInt8] = [0]
        while Self.read(into: &byte) > 0 {
            if byte[0] == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line += byte
        }
        return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
    }

    /// Waits until a descriptor that does not block can be read or written.
    private static func wait(for descriptor: Int32, _ event: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(event), revents: 0)
        _ = poll(&entry, 1, -1)
    }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}

private func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(descriptor, buffer, count)
}
