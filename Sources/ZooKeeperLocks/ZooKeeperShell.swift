import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// Carries out what ``ZooKeeperMachine`` decides, and decides nothing. Lives on the event loop: nothing here is locked.
///
/// ``feed(_:)`` is the one way to the machine. What is fed while effects are carried out (a request that fails at once, a connection
/// that ends because it is closed) changes the machine then; its effects come after those that are waiting.
final class ZooKeeperShell {
    typealias Instant = BootInstant
    typealias Event = ZooKeeperMachine.Event
    typealias Effect = ZooKeeperMachine.Effect

    /// Who waits for an answer.
    private enum Caller {
        case request(WaitContinuation<Result<AcquireReply, LockError>>)
        case leave(WaitContinuation<Result<Bool, LockError>>)
        case inquiry(WaitContinuation<ZooKeeperMachine.Answer>)
    }

    private let eventLoop: any EventLoop
    private let environment: Environment
    private let client: ZooKeeperClient
    private let logger: Logger
    private let facts: SessionFacts
    private var machine: ZooKeeperMachine
    private var isCarryingOut = false
    private var generator: EntropyGenerator
    private var sink: (any LockEventSink)?
    private var gone: WaitContinuation<Void>?
    private var callers: [CallID: Caller] = [:]
    private var lastCall: UInt64 = 0
    private var timers: [ZooKeeperMachine.Timer: Scheduled<Void>] = [:]
    private let beat: EventLoopTimer
    private let ghosts: EventLoopTimer
    private let sweep: EventLoopTimer

    init(
        configuration: ZooKeeperLockConfiguration,
        eventLoop: any EventLoop,
        environment: NetworkEnvironment,
        facts: SessionFacts,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.environment = environment.machine
        self.generator = environment.machine.generator
        self.facts = facts
        self.logger = logger
        self.machine = ZooKeeperMachine(
            configuration, maker: ContenderNode.Maker(using: &self.generator), now: environment.machine.now)
        self.beat = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.ghosts = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.sweep = EventLoopTimer(eventLoop: eventLoop, environment: environment.machine)
        self.client = ZooKeeperClient(
            configuration: configuration.client, eventLoop: eventLoop, logger: logger, environment: environment)
        self.client.delegate = self
    }

    // MARK: The funnel

    private func feed(_ event: consuming Event) {
        self.machine.handle(consume event, now: self.environment.now)
        if self.isCarryingOut { return }
        self.isCarryingOut = true
        while let effect = self.machine.next() { self.carryOut(effect) }
        self.isCarryingOut = false
    }

    private func carryOut(_ effect: consuming Effect) {
        switch consume effect {
        case .ask(let request, let question):
            self.client.submit(request) { self.feed(.answered(question, $0)) }
        case .answer(let call, let answer): self.answer(call, answer)
        case .start(let timer, let pause): self.start(timer, pause)
        case .cancel(let timer): self.timers.removeValue(forKey: timer)?.cancel()
        case .awaitEnd(let turn):
            let shell = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { shell.value.feed(.turnEnded(turn)) }
        case .forgetWatch(let path): self.client.forgetWatch(path)
        case .tell(let news): self.sink?.receive(LockEvent(news))
        case .wake(let alarm, let instant): self.timer(alarm).arm(instant) { self.feed(.alarmFired(alarm)) }
        case .silence(let alarm): self.timer(alarm).cancel()
        case .publish(let timeout): self.facts.timeout = timeout
        case .note(let note): note.write(to: self.logger)
        case .connect: self.client.start { self.feed(.stopped) }
        case .finishSetUp: self.client.setUpFinished()
        case .leaveServer(let reason, let isRefusal): self.client.leaveServer(reason, isRefusal: isRefusal)
        case .endSession: self.client.stop()
        case .finish:
            self.sink = nil
            exchange(&self.gone, with: nil)?.resume()
        }
    }

    // MARK: Callers

    func start(delivering sink: any LockEventSink) { self.sink = sink }

    /// - Parameter gone: resumed when the session has ended and nothing is connected any more.
    func run(_ gone: WaitContinuation<Void>) {
        self.gone = gone
        self.feed(.started)
    }

    func end() { self.feed(.ended) }

    func request(_ request: AcquireRequest, _ caller: WaitContinuation<Result<AcquireReply, LockError>>) {
        self.feed(.requested(request, self.add(.request(caller))))
    }

    func cancel(_ attempt: AttemptID) { self.feed(.cancelled(attempt, silence: self.client.notConnected)) }

    /// Takes a claim back; answers whether it held the lock until now.
    func withdraw(_ attempt: AttemptID, _ caller: WaitContinuation<Result<Bool, LockError>>) {
        self.feed(.withdrawn(attempt, call: self.add(.leave(caller))))
    }

    /// Takes a claim back. Nobody waits for the answer.
    func withdraw(_ attempt: AttemptID) { self.feed(.withdrawn(attempt, call: nil)) }

    func inquire(_ inquiry: Inquiry, _ caller: WaitContinuation<ZooKeeperMachine.Answer>) {
        self.feed(.inquired(inquiry, self.add(.inquiry(caller)), silence: self.client.notConnected))
    }

    private func add(_ caller: Caller) -> CallID {
        self.lastCall += 1
        let call = CallID(rawValue: self.lastCall)
        self.callers[call] = caller
        return call
    }

    private func answer(_ call: CallID, _ answer: ZooKeeperMachine.Answer) {
        switch self.callers.removeValue(forKey: call) {
        case .request(let caller): caller.resume(returning: answer.reply)
        case .leave(let caller): caller.resume(returning: answer.wasHeld)
        case .inquiry(let caller): caller.resume(returning: answer)
        case nil: preconditionFailure("a call was answered twice")
        }
    }

    // MARK: Time

    private func start(_ timer: ZooKeeperMachine.Timer, _ pause: ZooKeeperMachine.Pause) {
        let shell = NIOLoopBound(self, eventLoop: self.eventLoop)
        let scheduled = self.eventLoop.scheduleTask(in: TimeAmount(pause.drawn { self.environment.fraction() })) {
            shell.value.fired(timer)
        }
        self.timers.updateValue(scheduled, forKey: timer)?.cancel()
    }

    private func fired(_ timer: ZooKeeperMachine.Timer) {
        self.timers[timer] = nil
        self.feed(.timerFired(timer, silence: self.client.notConnected))
    }

    private func timer(_ alarm: ZooKeeperMachine.Alarm) -> EventLoopTimer {
        switch alarm {
        case .beat: self.beat
        case .ghosts: self.ghosts
        case .sweep: self.sweep
        }
    }
}

// MARK: - The session

extension ZooKeeperShell: ZooKeeperClientDelegate {
    func attached(_ session: ZooKeeperSession, isNew: Bool, sentAt: Instant) {
        let name = ContenderNode.makeUUID(using: &self.generator)
        self.feed(.attached(session, isNew: isNew, sentAt: sentAt, name: name))
    }

    func suspended(_ error: ZooKeeperError) { self.feed(.suspended(error)) }

    func expired(_ session: ZooKeeperSession) { self.feed(.expired(session)) }

    func watchFired(_ event: WatchEvent) { self.feed(.watchFired(event)) }
}
