/// A command to run under a lock.
package struct SupervisedCommand: Sendable {
    /// The command and its arguments; the command is looked up in the `PATH` of `environment`.
    package var arguments: [String]
    /// All of the command's environment: nothing is added to it.
    package var environment: [(name: String, value: String)]
    /// Descriptors by which others see that this holder lives. The watchdog keeps them open until the last process of
    /// the command is gone; the command never gets them.
    package var livenessDescriptors: [Int32]

    package init(
        arguments: [String],
        environment: [(name: String, value: String)],
        livenessDescriptors: [Int32] = []
    ) {
        self.arguments = arguments
        self.environment = environment
        self.livenessDescriptors = livenessDescriptors
    }
}

/// How a command ended.
package enum CommandStatus: Hashable, Sendable {
    case exited(code: Int32)
    case signalled(Int32)

    /// What a shell would show as `$?`.
    package var exitCode: Int32 {
        switch self {
        case .exited(let code): code
        case .signalled(let signal): 128 + signal
        }
    }
}

/// Why a command did not start. None of its code has run.
package enum SpawnError: Error, Hashable, Sendable {
    /// `execve` refused it with this errno.
    case notExecutable(errno: Int32)
    /// The watchdog itself could not be started.
    case noWatchdog(errno: Int32)
    /// The deadline is no more than the grace away.
    case tooLate
    /// The watchdog was killed. The command may have started, and is dead by now.
    case watchdogDied
}
