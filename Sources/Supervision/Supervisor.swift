private import CSupervision
private import LockKernel

/// Runs one command, and sees to it that none of its processes outlives the deadline.
///
/// The command is a child of a small watchdog process, which stops it (SIGTERM, and SIGKILL after the grace) when the
/// deadline comes near, when this process dies, however that happens, and when the last reference to its supervisor
/// goes away. It is stopped together with everything that descends from it, except what left its session (`setsid`).
package final class Supervisor: Sendable {
    package enum Event: Hashable, Sendable {
        /// By Ctrl-Z, by reading the terminal from the background, or by `kill`. See ``followStop(by:beforeStopping:)``.
        case stopped(signal: Int32)
        case continued
        /// The command has ended and the last process of its group is gone. The last event.
        case exited(CommandStatus, stoppedByWatchdog: Bool)
        /// Somebody killed the watchdog, so the command was killed too, and is gone. The last event.
        case watchdogDied
    }

    /// The process id of the command, and of its process group.
    package let group: Int32
    let terminal: Terminal?
    let link: WatchdogLink

    /// Starts the command, and returns when it has begun to run. Cancellation until then stops it; that is told by its
    /// last event, as always.
    ///
    /// - Parameters:
    ///   - deadline: When the last process of the command must be gone.
    ///   - grace: The time between SIGTERM and the deadline. SIGKILL comes a quarter of it, at most 100 ms, before the
    ///     deadline.
    ///   - terminal: Given to the command if it is this process's to give, and taken back at the end.
    package static func start(
        _ command: SupervisedCommand,
        deadline: ContinuousClock.Instant,
        grace: Duration,
        terminal: Terminal? = Terminal.controlling()
    ) async throws(SpawnError) -> Supervisor {
        let deadlineNanoseconds = BoottimeInstant.nanoseconds(at: deadline)
        let handle = try spawn(command, deadline: deadlineNanoseconds, grace: grace, terminal: terminal)
        let link = WatchdogLink(socket: handle.socket, watchdog: handle.watchdog, terminal: terminal)
        link.guardDeadline(deadlineNanoseconds)
        let start = await withTaskCancellationHandler {
            await link.started()
        } onCancel: {
            link.terminate()
        }
        switch start {
        case .started(let group):
            return Supervisor(group: group, terminal: terminal, link: link)
        case .failed(let error):
            throw error
        }
    }

    private init(group: Int32, terminal: Terminal?, link: WatchdogLink) {
        self.group = group
        self.terminal = terminal
        self.link = link
    }

    deinit {
        link.abandon()
    }

    /// The next event, `nil` after the last. For one reader at a time.
    ///
    /// Pays no heed to cancellation: a task that was cancelled because the lock is lost has to call ``terminate()`` and
    /// still wait for the end. 16 events are kept for a slow reader; then older ones make room.
    package func nextEvent() async -> Event? {
        await link.nextEvent()
    }

    /// Moves the deadline. Has no effect on a command that is being stopped already, except that one which comes
    /// earlier is obeyed.
    package func extend(deadline: ContinuousClock.Instant) {
        let deadlineNanoseconds = BoottimeInstant.nanoseconds(at: deadline)
        link.send(CSUP_EXTEND, deadlineNanoseconds: deadlineNanoseconds)
        link.guardDeadline(deadlineNanoseconds)
    }

    /// Sends a signal to the command's group.
    package func forward(signal: Int32) {
        link.send(CSUP_FORWARD, value: signal)
    }

    /// Stops the command: SIGTERM now, SIGKILL after the grace.
    package func terminate() {
        link.terminate()
    }

    private static func spawn(
        _ command: SupervisedCommand,
        deadline deadlineNanoseconds: Int64,
        grace: Duration,
        terminal: Terminal?
    ) throws(SpawnError) -> csup_handle {
        var arguments = command.arguments.map(Self.copied) + [nil]
        var environment = command.environment.map(Self.copied) + [nil]
        defer { (arguments + environment).forEach { free($0) } }
        let terminal = terminal?.descriptorForStart() ?? -1
        var handle = csup_handle()
        let error = arguments.withUnsafeMutableBufferPointer { arguments in
            environment.withUnsafeMutableBufferPointer { environment in
                command.livenessDescriptors.withUnsafeBufferPointer { liveness in
                    var options = csup_options()
                    options.arguments = arguments.asConstants
                    options.environment = environment.asConstants
                    options.liveness_descriptors = liveness.baseAddress
                    options.liveness_count = liveness.count
                    options.deadline_ns = deadlineNanoseconds
                    options.grace_ns = BoottimeInstant.nanoseconds(in: grace)
                    options.terminal_descriptor = terminal
                    return csup_spawn(&options, &handle)
                }
            }
        }
        if error != 0 { throw .noWatchdog(errno: error) }
        return handle
    }

    private static func copied(_ bytes: [UInt8]) -> UnsafeMutablePointer<CChar>? {
        // Ends at the first NUL, as all that is handed to the system does.
        (bytes + [0]).withUnsafeBytes { strdup($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
    }
}

extension UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?> {
    fileprivate var asConstants: UnsafePointer<UnsafePointer<CChar>?>? {
        guard let baseAddress else { return nil }
        return UnsafeRawPointer(baseAddress).assumingMemoryBound(to: UnsafePointer<CChar>?.self)
    }
}
