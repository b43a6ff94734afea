private import CSupervision

#if canImport(Darwin)
private import Darwin
#elseif canImport(Musl)
private import Musl
#else
private import Glibc
#endif

extension Supervisor {
    /// Does what a shell's user expects when the command was stopped: this process and the rest of its group stop too,
    /// so that the shell sees a stopped job; when they are continued (`fg`, `bg`), so is the command.
    ///
    /// A command that was stopped only for want of the terminal gets it, if it is this process's to give, and goes on.
    /// Without a terminal, and for a `kill -STOP` of a background command, nothing happens. Returns when the command
    /// was continued. The whole process, and so the renewal of the lock, stands still meanwhile: the watchdog stops the
    /// command before the lease ends.
    ///
    /// - Parameter beforeStopping: Called when this process has the terminal and is about to stop.
    package func followStop(by signal: Int32, beforeStopping: () -> Void = {}) {
        guard let terminal else { return }
        let lacksTerminal = signal == SIGTTIN || signal == SIGTTOU
        if lacksTerminal {
            terminal.wanted()
            if terminal.giveIfForeground(to: group) {
                sendContinue()
                return
            }
        }
        guard lacksTerminal || signal == SIGTSTP || terminal.isGiven else { return }
        terminal.takeBack(from: group, restoringModes: false)
        beforeStopping()
        let stoppedAt = ContinuousClock.now
        // Not SIGSTOP: in a group that no shell looks after it would be for ever, and SIGTSTP is discarded.
        csup_stop_own_group(signal == SIGSTOP ? SIGTSTP : signal)
        if lacksTerminal, !terminal.isForeground, ContinuousClock.now - stoppedAt < .milliseconds(10) {
            // Discarded: the command would ask for the terminal and be stopped for it, again and again. What the kernel
            // does with stopped groups that nobody looks after is this.
            forward(signal: SIGHUP)
        } else {
            continueCommand()
        }
    }

    /// Continues the command, in the foreground if this process is. To be called when SIGCONT arrives.
    package func continueCommand() {
        terminal?.giveIfForeground(to: group)
        sendContinue()
    }

    /// Dies by Ctrl-C (or Ctrl-\) if the command did; to be called after all else, in place of an exit.
    ///
    /// A script ends at a Ctrl-C if it had the signal itself and what it waited for died of it, and otherwise goes on
    /// with its next line. While the terminal is the command's, this process's group does not have the signal, so it is
    /// sent to it. Returns if the command ended in another way, and if there is no terminal.
    package func dieOfInterrupt(_ status: CommandStatus) {
        guard let terminal, case .signalled(let signal) = status, signal == SIGINT || signal == SIGQUIT else { return }
        if terminal.wasGivenAtEnd { csup_signal_own_group(signal) }
        csup_die_of(signal)
    }
}
