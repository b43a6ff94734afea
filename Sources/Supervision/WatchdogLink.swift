internal import CSupervision
private import Dispatch
import LockKernel
private import Synchronization

/// The socket to the watchdog: reads it on a queue of its own, and kills the command's group if the watchdog dies.
///
/// It keeps itself alive until the socket is closed, by the watchdog's end or by ``abandon()``.
final class WatchdogLink: Sendable {
    private struct Shared {
        var machine = SupervisorStateMachine()
        var events = EventQueue()
        /// `nil` once closed: a late message must not go to a number that is used again, nor a signal to a watchdog
        /// that has been reaped.
        var socket: Int32?
        /// Stands for the command's group when its number is another's; `nil` where the system has no such thing.
        var leader: Int32?
    }

    private let shared: Mutex<Shared>
    private let watchdog: pid_t
    private let terminal: Terminal?
    private let queue = DispatchQueue(label: "dlock.watchdog", qos: .userInitiated)
    // Dispatch's sources may be used from any thread, though their protocols do not say so.
    private nonisolated(unsafe) let source: any DispatchSourceRead
    private nonisolated(unsafe) let deadlineTimer: any DispatchSourceTimer

    init(socket: Int32, watchdog: pid_t, terminal: Terminal?) {
        self.shared = Mutex(Shared(socket: socket))
        self.watchdog = watchdog
        self.terminal = terminal
        source = DispatchSource.makeReadSource(fileDescriptor: socket, queue: queue)
        deadlineTimer = DispatchSource.makeTimerSource(queue: queue)
        source.setEventHandler { self.read(socket) }
        source.setCancelHandler { self.cancelled() }
        deadlineTimer.setEventHandler { [weak self] in self?.deadlinePassed() }
        source.resume()
        deadlineTimer.resume()
    }

    func started() async -> SupervisorStateMachine.Start {
        await withCheckedContinuation { continuation in
            let known = shared.withLock { $0.machine.waitForStart(continuation) }
            if let known { continuation.resume(returning: known) }
        }
    }

    func nextEvent() async -> Supervisor.Event? {
        await withCheckedContinuation { reader in
            switch shared.withLock({ $0.events.next(reader) }) {
            case .now(let event): reader.resume(returning: event)
            case .later: break
            }
        }
    }

    /// Never blocks. What is sent to a dead watchdog is lost: its death has consequences of its own. What does not fit
    /// (the watchdog was stopped) is lost too: then the old deadline holds, which is the safe one.
    func send(_ kind: csup_kind, value: Int32 = 0, deadlineNanoseconds: Int64 = 0) {
        shared.withLock { shared in
            Self.send(kind, value: value, deadlineNanoseconds: deadlineNanoseconds, to: shared.socket)
        }
    }

    private static func send(_ kind: csup_kind, value: Int32 = 0, deadlineNanoseconds: Int64 = 0, to socket: Int32?) {
        guard let socket else { return }
        var message = csup_message()
        message.kind = UInt32(kind.rawValue)
        message.value = value
        message.deadline_ns = deadlineNanoseconds
        _ = csup_send(socket, &message)
    }

    var commandIsStopped: Bool {
        shared.withLock { $0.machine.isStopped }
    }

    func acceptStop() {
        shared.withLock { $0.machine.acceptStop() }
    }

    /// Continues the command if the machine finds that it should be.
    func continueCommand(if isWanted: (inout SupervisorStateMachine) -> Bool) {
        shared.withLock { shared in
            if isWanted(&shared.machine) { Self.send(CSUP_CONTINUE, to: shared.socket) }
        }
    }

    func terminate() {
        send(CSUP_TERMINATE_COMMAND)
        wakeWatchdog()
    }

    /// Makes the watchdog stop the command as if this process had died.
    func abandon() {
        wakeWatchdog()
        source.cancel()
    }

    /// A second line of defence for a watchdog that was itself stopped: at the deadline the group is killed from here.
    func guardDeadline(_ deadlineNanoseconds: Int64) {
        let left = max(0, deadlineNanoseconds.subtractingReportingOverflow(csup_now_ns()).partialValue)
        // Dispatch's clock stops in suspend, so this may be late; the watchdog's does not.
        deadlineTimer.schedule(deadline: .now() + .nanoseconds(Int(left)), leeway: .milliseconds(1))
    }

    private func deadlinePassed() {
        guard let socket = shared.withLock({ $0.socket }), !source.isCancelled else { return }
        // This process may have been stopped for long: the watchdog's last word may be there, and its command's number
        // another's.
        read(socket)
        // First, so that the watchdog knows why the command died.
        send(CSUP_TERMINATE_COMMAND)
        killGroup(shared.withLock { $0.machine.groupToKill })
        wakeWatchdog()
    }

    private func killGroup(_ group: Int32?) {
        guard let group else { return }
        csup_kill_group(group, shared.withLock { $0.leader } ?? -1)
    }

    private func wakeWatchdog() {
        shared.withLock { shared in
            if shared.socket != nil { _ = kill(watchdog, SIGCONT) }
        }
    }

    private func read(_ socket: Int32) {
        var raw = csup_message()
        var descriptor: Int32 = -1
        while true {
            switch csup_receive(socket, &raw, &descriptor) {
            case CSUP_RECEIVED:
                let message = SupervisorStateMachine.Message(raw)
                let leader = descriptor < 0 ? nil : descriptor
                let (group, action) = shared.withLock { shared in
                    if let leader { shared.leader = leader }
                    return (shared.machine.group, shared.machine.messageArrived(message))
                }
                carryOut(action, group: group)
            case CSUP_NOTHING_YET:
                return
            default:
                closed()
                return
            }
        }
    }

    private func closed() {
        source.cancel()
        switch shared.withLock({ $0.machine.socketClosed() }) {
        case .reapWatchdog:
            break
        case .killGroup(let group):
            killGroup(group)
            waitUntilGone(group)
        case .reportDeath:
            carryOut(shared.withLock { $0.machine.killedGroupGone() }, group: nil)
        }
    }

    // Its processes are nobody's children here, so nothing tells when they are gone.
    private func waitUntilGone(_ group: Int32) {
        if csup_group_is_alive(group) {
            queue.asyncAfter(deadline: .now() + .milliseconds(5)) { self.waitUntilGone(group) }
        } else {
            csup_reap(group)
            carryOut(shared.withLock { $0.machine.killedGroupGone() }, group: group)
        }
    }

    private func cancelled() {
        deadlineTimer.cancel()
        let (socket, leader) = shared.withLock { shared in
            defer { (shared.socket, shared.leader) = (nil, nil) }
            return (shared.socket, shared.leader)
        }
        if let socket { _ = close(socket) }
        if let leader { _ = close(leader) }
        // It exits by itself: it just has, if that is why this was cancelled; else when the command is gone.
        while waitpid(watchdog, nil, 0) < 0, errno == EINTR {}
        let (group, action) = shared.withLock { ($0.machine.group, $0.machine.watchdogReaped()) }
        carryOut(action, group: group)
    }

    private func carryOut(_ action: SupervisorStateMachine.MessageAction, group: Int32?) {
        switch action {
        case .none:
            break
        case .settleStart(.started(let group), let continuation):
            continuation?.resume(returning: .started(group))
        case .settleStart(.failed(let error), let continuation):
            terminal?.takeBack(from: group, restoringModes: false)
            continuation?.resume(returning: .failed(error))
        case .yield(let event):
            push(event, isLast: false)
        case .end(let event):
            terminal?.takeBack(from: group, restoringModes: event.mayLeaveModesBehind)
            push(event, isLast: true)
        }
    }

    private func push(_ event: Supervisor.Event, isLast: Bool) {
        let reader = shared.withLock { $0.events.push(event, isLast: isLast) }
        reader?.resume(returning: event)
    }
}

extension SupervisorStateMachine.Message {
    init(_ raw: csup_message) {
        switch csup_kind(rawValue: csup_kind.RawValue(raw.kind)) {
        case CSUP_FORKED: self = .forked(raw.value)
        case CSUP_STARTED: self = .started(raw.value)
        case CSUP_EXEC_FAILED: self = .execFailed(errno: raw.value)
        case CSUP_NOT_STARTED: self = .notStarted
        case CSUP_STOPPED: self = .stopped(raw.value, continues: raw.continues)
        case CSUP_CONTINUED: self = .continued
        case CSUP_FINISHED:
            let status = raw.by_signal ? CommandStatus.signalled(raw.value) : .exited(code: raw.value)
            self = .finished(status, stoppedByWatchdog: raw.stopped_by_watchdog)
        default: preconditionFailure("no message of the watchdog has the kind \(raw.kind)")
        }
    }
}

extension Supervisor.Event {
    /// An editor that is killed cannot put the terminal's modes back.
    fileprivate var mayLeaveModesBehind: Bool {
        switch self {
        case .exited(.exited, let stoppedByWatchdog): stoppedByWatchdog
        case .exited(.signalled, _), .watchdogDied: true
        case .stopped, .continued: false
        }
    }
}
