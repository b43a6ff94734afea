/// A command to run under a lock. Its arguments and environment are bytes: they need not be text.
package struct SupervisedCommand: Sendable {
    /// The command and its arguments; the command is looked up in the `PATH` of `environment`.
    package var arguments: [[UInt8]]
    /// All of the command's environment, `NAME=value`: nothing is added to it.
    package var environment: [[UInt8]]
    /// Descriptors by which others see that this holder lives. The watchdog keeps them open until the last process of
    /// the command is gone; the command never gets them.
    package var livenessDescriptors: [Int32]

    package init(arguments: [[UInt8]], environment: [[UInt8]], livenessDescriptors: [Int32] = []) {
        self.arguments = arguments
        self.environment = environment
        self.livenessDescriptors = livenessDescriptors
    }

    package init(
        arguments: [String],
        environment: [(name: String, value: String)],
        livenessDescriptors: [Int32] = []
    ) {
        self.init(
            arguments: arguments.map { Array($0.utf8) },
            environment: environment.map { Array("\($0.name)=\($0.value)".utf8) },
            livenessDescriptors: livenessDescriptors
        )
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
    /// The file is there; the interpreter that its first line names, or the loader that it needs, is not.
    case noInterpreter
    /// The watchdog itself could not be started.
    case noWatchdog(errno: Int32)
    /// The deadline is no more than the grace away.
    case tooLate
    /// The watchdog was killed. The command may have started, and is dead by now.
    case watchdogDied
}
