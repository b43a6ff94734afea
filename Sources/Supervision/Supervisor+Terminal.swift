private import CSupervision
private import LockKernel

extension Supervisor {
    /// Does what a shell's user expects when the command was stopped: this process and the rest of its group stop too,
    /// so that the shell sees a stopped job; when they are continued (`fg`, `bg`), so is the command.
    ///
    /// A command that was stopped only for want of the terminal gets it, if it is this process's to give, and goes on.
    /// Without a terminal, for a stop that is over by now, and for a `kill -STOP` of a background command, nothing
    /// happens. Returns when the command was continued. The whole process, and so the renewal of the lock, stands still
    /// meanwhile: the watchdog stops the command before the lease ends. SIGCONT and SIGTSTP have to be captured.
    ///
    /// - Parameter beforeStopping: Called when this process has the terminal and is about to stop.
    package func followStop(by signal: Int32, beforeStopping: () -> Void = {}) {
        guard link.commandIsStopped else { return }
        guard let terminal else { return link.acceptStop() }
        let lacksTerminal = signal == SIGTTIN || signal == SIGTTOU
        if lacksTerminal {
            terminal.wanted()
            if terminal.giveIfForeground(to: group) { return link.continueCommand { $0.continueWanted() } }
        }
        guard lacksTerminal || signal == SIGTSTP || terminal.isGiven else { return link.acceptStop() }
        terminal.takeBack(from: group, restoringModes: false)
        beforeStopping()
        // Not SIGSTOP: in a group that no shell looks after it would be for ever, and SIGTSTP is discarded.
        let wasStopped = csup_stop_own_group(signal == SIGSTOP ? SIGTSTP : signal)
        if !wasStopped, lacksTerminal {
            // The command would ask for the terminal and be stopped for it, again and again. What the system does with
            // stopped groups that nobody looks after is this.
            forward(signal: SIGHUP)
        } else {
            terminal.giveIfForeground(to: group)
            link.continueCommand { $0.continueWanted() }
        }
    }

    /// To be called when SIGCONT arrives: gives the command the terminal if this process has it, and continues it if it
    /// was stopped and ``followStop(by:beforeStopping:)`` let it be.
    package func continueCommand() {
        terminal?.giveIfForeground(to: group)
        link.continueCommand { $0.continueArrived() }
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
