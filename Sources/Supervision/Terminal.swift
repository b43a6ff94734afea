private import CSupervision
import LockKernel
private import Synchronization

/// The controlling terminal, and whether the command has it.
///
/// A terminal has one foreground group; others that read from it are stopped. The command is a group of its own, so it
/// is made the foreground group while it runs, if this process's group was.
package final class Terminal: Sendable {
    private struct Holding {
        /// Given at the start, or asked for since.
        var isWanted: Bool
        var isGiven: Bool
        var wasGivenAtEnd = false
    }

    let descriptor: Int32
    private let originalModes: termios?
    private let holding: Mutex<Holding>

    /// The controlling terminal of this process; `nil` if there is none.
    package static func controlling() -> Terminal? {
        let descriptor = open("/dev/tty", O_RDWR | O_CLOEXEC)
        return descriptor < 0 ? nil : Terminal(descriptor: descriptor)
    }

    private init(descriptor: Int32) {
        self.descriptor = descriptor
        var modes = termios()
        let isForeground = tcgetpgrp(descriptor) == getpgrp()
        originalModes = isForeground && tcgetattr(descriptor, &modes) == 0 ? modes : nil
        // In a pipeline the group holds others that may need the terminal more, such as the pager at its end. There the
        // command gets it when it asks for it.
        let isWanted = isForeground && isatty(0) == 1 && !Self.isPipe(1)
        holding = Mutex(Holding(isWanted: isWanted, isGiven: false))
    }

    deinit {
        _ = close(descriptor)
    }

    /// Whether this process's group is the foreground group.
    package var isForeground: Bool {
        tcgetpgrp(descriptor) == getpgrp()
    }

    /// Whether the command's group has been made the foreground group and not been replaced since.
    var isGiven: Bool {
        holding.withLock { $0.isGiven }
    }

    /// Whether the command had the terminal, and so got what was typed there, until it ended.
    var wasGivenAtEnd: Bool {
        holding.withLock { $0.wasGivenAtEnd }
    }

    /// The descriptor for a command that is about to start, which takes the terminal itself; -1 if it must not.
    func descriptorForStart() -> Int32 {
        holding.withLock { holding in
            holding.isGiven = holding.isWanted && isForeground
            return holding.isGiven ? descriptor : -1
        }
    }

    /// The command was stopped because it used the terminal from the background.
    func wanted() {
        holding.withLock { $0.isWanted = true }
    }

    /// Makes the command's group the foreground group if it wants that and this process's group is; true if so.
    @discardableResult
    func giveIfForeground(to group: Int32) -> Bool {
        holding.withLock { holding in
            guard holding.isWanted, isForeground else { return false }
            holding.isGiven = csup_set_foreground(descriptor, group) == 0
            return holding.isGiven
        }
    }

    /// Makes this process's group the foreground group again, unless a shell has put another one there.
    func takeBack(from group: Int32?, restoringModes: Bool) {
        holding.withLock { holding in
            holding.wasGivenAtEnd = holding.isGiven
            guard holding.isGiven else { return }
            holding.isGiven = false
            let foreground = tcgetpgrp(descriptor)
            // A job of a shell that was the command, and died with it, leaves the number of a group that is no more.
            let isFree = foreground == group || (foreground > 1 && kill(-foreground, 0) != 0 && errno == ESRCH)
            guard foreground != getpgrp() else { return }
            guard isFree, csup_set_foreground(descriptor, getpgrp()) == 0 else {
                holding.wasGivenAtEnd = false
                return
            }
            if restoringModes, var modes = originalModes { _ = tcsetattr(descriptor, TCSADRAIN, &modes) }
        }
    }

    private static func isPipe(_ descriptor: Int32) -> Bool {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        let type = status.st_mode & S_IFMT
        return type == S_IFIFO || type == S_IFSOCK
    }
}
