/// What the messages of the watchdog mean for dlock.
struct SupervisorStateMachine {
    /// What the watchdog says, in the order in which it says it.
    enum Message: Hashable {
        case forked(Int32)
        case started(Int32)
        /// Negative: the program is there, its interpreter is not.
        case execFailed(errno: Int32)
        case notStarted
        case stopped(Int32, continues: UInt32)
        case continued
        case finished(CommandStatus, stoppedByWatchdog: Bool)
    }

    enum Start: Hashable {
        case started(Int32)
        case failed(SpawnError)
    }

    private enum Outcome {
        case notStarted(SpawnError)
        case last(Supervisor.Event)
    }

    private enum State {
        /// The group is known as soon as the watchdog has forked.
        case starting(group: Int32?)
        case running(group: Int32)
        /// The watchdog has said its last word, and is about to exit.
        case finishing(group: Int32?, Outcome)
        /// The watchdog is dead and the group is being killed.
        case killing(group: Int32?, wasRunning: Bool)
        case ended
    }

    /// Of the requests to continue, those sent, and those obeyed when the command was last stopped.
    private var continuesSent: UInt32 = 0
    private var continuesAtStop: UInt32?
    private var stopIsAccepted = false

    private var state = State.starting(group: nil)
    private(set) var start: Start?
    private var waiting: CheckedContinuation<Start, Never>?

    /// The command's process group, while there is one.
    var group: Int32? {
        switch state {
        case .starting(let group): group
        case .running(let group): group
        case .finishing(let group, _): group
        case .killing(let group, _): group
        case .ended: nil
        }
    }

    /// The group that has to be killed if its time is over: as long as the watchdog has not said that it is gone, and so
    /// may reap the leader, the number is the group's.
    var groupToKill: Int32? {
        switch state {
        case .starting(let group): group
        case .running(let group): group
        case .finishing, .killing, .ended: nil
        }
    }

    /// Whether the command's last stop still lasts, with no request to continue on its way. News of a stop may be old
    /// when it is read: this process may have been stopped and continued itself meanwhile.
    var isStopped: Bool {
        continuesAtStop == continuesSent
    }

    /// The command stays stopped while this process runs on, until this process gets a SIGCONT.
    mutating func acceptStop() {
        stopIsAccepted = isStopped
    }

    /// True if a request is to be sent, which is once for each stop.
    mutating func continueWanted() -> Bool {
        guard isStopped else { return false }
        stopIsAccepted = false
        continuesSent &+= 1
        return true
    }

    /// The same, on a SIGCONT. It may be old too: the stop that it belonged to may be over, and the command stopped anew.
    mutating func continueArrived() -> Bool {
        stopIsAccepted && continueWanted()
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
        case (.starting(let group), .execFailed(let errno)):
            let error: SpawnError = errno < 0 ? .noInterpreter : .notExecutable(errno: errno)
            state = .finishing(group: group, .notStarted(error))
            return .none
        case (.starting(let group), .notStarted):
            state = .finishing(group: group, .notStarted(.tooLate))
            return .none
        case (.starting, .finished), (.starting, .stopped), (.starting, .continued):
            preconditionFailure("the watchdog speaks of a command that it did not start")
        case (.running, .stopped(let signal, let continues)):
            continuesAtStop = continues
            stopIsAccepted = false
            return .yield(.stopped(signal: signal))
        case (.running, .continued):
            continuesAtStop = nil
            return .yield(.continued)
        case (.running(let group), .finished(let status, let stoppedByWatchdog)):
            state = .finishing(group: group, .last(.exited(status, stoppedByWatchdog: stoppedByWatchdog)))
            return .none
        case (.running, .forked), (.running, .started), (.running, .execFailed), (.running, .notStarted):
            preconditionFailure("the watchdog starts its command twice")
        case (.finishing, _), (.killing, _), (.ended, _):
            preconditionFailure("the watchdog speaks after its last word")
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
        case .finishing:
            return .reapWatchdog
        case .killing, .ended:
            preconditionFailure("a socket is closed once")
        }
    }

    /// The watchdog is gone, with all it held. Only now is its last word passed on: a process that exits at once would
    /// leave the watchdog to the init process, which in a container may be one that reaps nobody.
    mutating func watchdogReaped() -> MessageAction {
        switch state {
        case .finishing(_, .notStarted(let error)):
            state = .ended
            return settle(.failed(error))
        case .finishing(_, .last(let event)):
            state = .ended
            return .end(event)
        case .starting, .running, .killing, .ended:
            return .none
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
        case .starting, .running, .finishing, .ended:
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
