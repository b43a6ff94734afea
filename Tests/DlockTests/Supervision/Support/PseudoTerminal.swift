import LockKernel
import Testing

/// The parent's parent: of a command, the process that supervises it.
func parentOfParent(of process: pid_t) -> pid_t {
    func parent(_ process: pid_t) -> pid_t {
        let file = Descriptor(open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC))
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = max(0, read(file.number, &buffer, buffer.count))
        let fields = String(decoding: buffer[..<count], as: UTF8.self).split(separator: ")").last?.split(separator: " ")
        return fields.flatMap { $0.count > 1 ? pid_t($0[1]) : nil } ?? 0
    }
    return parent(parent(process))
}

/// What a terminal emulator holds: types, and reads what is shown.
final class PseudoTerminal {
    let path: String
    private var master: Descriptor
    private var shown = ""

    init() {
        #if canImport(Darwin)
        master = Descriptor(posix_openpt(O_RDWR | O_NOCTTY))
        #expect(grantpt(master.number) == 0 && unlockpt(master.number) == 0)
        path = ptsname(master.number).map { String(cString: $0) } ?? ""
        #else
        // What posix_openpt and its like do; the C library's module does not show them.
        master = Descriptor(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC))
        let lock: UInt = 0x4004_5431
        let numberOf: UInt = 0x8004_5430
        var number: Int32 = 0
        #expect(ioctl(master.number, lock, &number) == 0 && ioctl(master.number, numberOf, &number) == 0)
        path = "/dev/pts/\(number)"
        #endif
    }

    /// As when the window is closed.
    func hangUp() {
        master = Descriptor.pipe().read
    }

    func type(_ text: String) {
        _ = text.withCString { write(master.number, $0, strlen($0)) }
    }

    /// Waits until the text is shown, and forgets everything up to it. Not what was typed: write such text in two
    /// halves, which the echo shows apart.
    func waitFor(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async {
        _ = await textUntil(text, sourceLocation: sourceLocation)
    }

    /// The same, and returns what stood before it.
    func textUntil(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async -> String {
        let master = master
        while true {
            if let range = shown.firstRange(of: text) {
                defer { shown = String(shown[range.upperBound...]) }
                return String(shown[..<range.lowerBound])
            }
            let more = await blocking { () -> String? in
                guard master.waitBlocking(for: Int32(POLLIN), atMost: .seconds(20)) else { return nil }
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = read(master.number, &buffer, buffer.count)
                return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
            }
            guard let more else {
                Issue.record(
                    "\"\(text)\" was not shown, but: \(shown.debugDescription)", sourceLocation: sourceLocation)
                return shown
            }
            shown += more
        }
    }

    /// The foreground process group.
    var foreground: pid_t { tcgetpgrp(master.number) }
}
