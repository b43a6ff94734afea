/// What the messages of the watchdog mean for dlock.
struct SupervisorStateMachine {
    /// What the watchdog says, in the order in which it says it.
    enum Message: Hashable {
        case forked(Int32)
        case started(Int32)
        case execFailed(errno: Int32)
        case notStarted
        case stopped(Int32)
        case continued
        case finished(CommandStatus, stoppedByWatchdog: Bool)
    }

    enum Start: Hashable {
        case started(Int32)
        case failed(SpawnError)
    }

    private enum State {
        /// The group is known as soon as the watchdog has forked.
        case starting(group: Int32?)
        case running(group: Int32)
        /// The watchdog is dead and the group is being killed.
        case killing(group: Int32?, wasRunning: Bool)
        case ended
    }

    private var state = State.starting(group: nil)
    private(set) var start: Start?
    private var waiting: CheckedContinuation<Start, Never>?

    /// The command's process group, while there is one.
    var group: Int32? {
        switch state {
        case .starting(let group): group
        case .running(let group): group
        case .killing(let group, _): group
        case .ended: nil
        }
    }

    enum MessageAction {
        case none
        case settleStart(Start, CheckedContinuation<Start, Never>?)
        case yield(Supervisor.Event)
        case end(Supervisor.Event)
    }

    mutating func messageArrived(_ message: Message) -> MessageAction {
        switch (state, message) {
        case (.starting, .forked(let group)):
            state = .starting(group: group)
            return .none
        case (.starting, .started(let group)):
            state = .running(group: group)
            return settle(.started(group))
        case (.starting, .execFailed(let errno)):
            state = .ended
            return settle(.failed(.notExecutable(errno: errno)))
        case (.starting, .notStarted):
            state = .ended
            return settle(.failed(.tooLate))
        case (.starting, .finished):
            preconditionFailure("the watchdog reports the end of a command that it did not start")
        case (.starting, .stopped), (.starting, .continued):
            // Between its fork and its exec; whoever stopped it there has to continue it.
            return .none
        case (.running, .stopped(let signal)):
            return .yield(.stopped(signal: signal))
        case (.running, .continued):
            return .yield(.continued)
        case (.running, .finished(let status, let stoppedByWatchdog)):
            state = .ended
            return .end(.exited(status, stoppedByWatchdog: stoppedByWatchdog))
        case (.running, .forked), (.running, .started), (.running, .execFailed), (.running, .notStarted):
            preconditionFailure("the watchdog starts its command twice")
        case (.killing, _), (.ended, _):
            preconditionFailure("the watchdog speaks after its end")
        }
    }

    enum ClosedAction: Hashable {
        case reapWatchdog
        case killGroup(Int32)
        case reportDeath
    }

    /// The watchdog's end of the socket was closed.
    mutating func socketClosed() -> ClosedAction {
        switch state {
        case .starting(group: nil):
            state = .killing(group: nil, wasRunning: false)
            return .reportDeath
        case .starting(group: .some(let group)):
            state = .killing(group: group, wasRunning: false)
            return .killGroup(group)
        case .running(let group):
            state = .killing(group: group, wasRunning: true)
            return .killGroup(group)
        case .killing:
            preconditionFailure("a socket is closed once")
        case .ended:
            return .reapWatchdog
        }
    }

    /// The group that had to be killed without the watchdog is gone.
    mutating func killedGroupGone() -> MessageAction {
        switch state {
        case .killing(_, wasRunning: false):
            state = .ended
            return settle(.failed(.watchdogDied))
        case .killing(_, wasRunning: true):
            state = .ended
            return .end(.watchdogDied)
        case .starting, .running, .ended:
            preconditionFailure("nothing was killed")
        }
    }

    /// Returns the outcome if it is known by now, or else resumes the continuation with it later.
    mutating func waitForStart(_ continuation: CheckedContinuation<Start, Never>) -> Start? {
        if start == nil { waiting = continuation }
        return start
    }

    private mutating func settle(_ outcome: Start) -> MessageAction {
        start = outcome
        defer { waiting = nil }
        return .settleStart(outcome, waiting)
    }
}
