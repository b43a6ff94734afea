import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// Carries out what ``RedlockMachine`` decides, and decides nothing. Lives on one event loop: nothing here is locked.
///
/// ``feed(_:)`` is the one way to the machine. What is fed while effects are carried out (a request that fails at once, a connection
/// that ends because it is left) changes the machine then; its effects come after those that are waiting.
final class RedlockShell {
    typealias Instant = BootInstant
    typealias Machine = RedlockMachine

    /// Who waits for an answer.
    private enum Caller {
        case request(WaitContinuation<Result<AcquireReply, LockError>>)
        case leave(WaitContinuation<Result<Bool, LockError>>)
        case renewals(WaitContinuation<[LockRenewalReply]>)
        /// What begins when the instances may be asked.
        case inquiry(() -> Void)
    }

    private let eventLoop: any EventLoop
    private let environment: Environment
    private let logger: Logger
    private let clients: [RedisClient]
    private var machine: Machine
    private var isCarryingOut = false
    /// An event came in the midst of effects, which were decided before it.
    private var isNewsAmongEffects = false
    private var encodings: InstanceEncodings
    /// What each instance is asked with for a lock: its node, as a bulk string.
    private var nodes: [ByteBuffer]
    /// How long an answer is waited for to what is asked by hand.
    private let patience: Duration
    private var sink: (any LockEventSink)?
    private var callers: [CallID: Caller] = [:]
    private var lastCall: UInt64 = 0
    private var disconnect: (() -> Void)?
    private var timers: [Machine.Timer: Scheduled<Void>] = [:]
    private let alarm: EventLoopTimer

    /// - Parameters:
    ///   - clients: in the order of the configuration's sorted servers.
    ///   - name: under which the instances know this client.
    init(
        configuration: RedlockConfiguration, clients: [RedisClient], eventLoop: any EventLoop, environment: Environment,
        name: String, logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.environment = environment
        self.logger = logger
        self.clients = clients
        self.machine = Machine(
            configuration, BufferedRandomNumberGenerator(environment.entropy), now: environment.now)
        self.encodings = InstanceEncodings(client: name)
        self.nodes = Array(repeating: ByteBuffer(), count: clients.count)
        self.patience = configuration.requestTimeout
        self.alarm = EventLoopTimer(eventLoop: eventLoop, environment: environment)
    }

    // MARK: The funnel

    /// Feeds an event, and carries out what follows when the machine has been left.
    private func feed(_ event: (inout Machine, Instant) -> Void) {
        event(&self.machine, self.environment.now)
        if self.isCarryingOut {
            self.isNewsAmongEffects = true
            return
        }
        self.isCarryingOut = true
        while let effect = self.machine.next() { self.carryOut(consume effect) }
        self.isCarryingOut = false
        self.isNewsAmongEffects = false
    }

    private func carryOut(_ effect: consuming Machine.Effect) {
        switch consume effect {
        case .ask(let request, let instances, let first, let deadline):
            self.ask(request, of: instances, from: first, deadline: deadline)
        case .answer(let call, let answer): self.answer(call, answer)
        case .tell(let news): self.sink?.receive(LockEvent(news, self.silence))
        case .wake(let instant): self.alarm.arm(instant) { self.feed { $0.alarmFired(now: $1) } }
        case .start(let timer, let duration): self.start(timer, duration)
        case .cancel(let timer): self.timers.removeValue(forKey: timer)?.cancel()
        case .holdRequests: for client in self.clients { client.beginGathering() }
        case .letRequestsGo: for client in self.clients { client.endGathering() }
        case .setNode(let index, let node):
            self.nodes[index].clear()
            self.nodes[index].writeRESPBulk(node)
        case .begin(let call): self.begin(call)
        case .awaitEndOfTurn(let index):
            let shell = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.eventLoop.execute { shell.value.feed { $0.turnEnded(refusedBy: index, now: $1) } }
        case .leaveIfSilent(let index, let duration): self.clients[index].reconnectIfSilent(for: duration)
        case .leave(let index, let connection, let reason):
            self.clients[index].reconnect(connection, RedisError(.refused, reason))
        case .hurry(let index): self.clients[index].hurry()
        case .note(let note): note.write(to: self.logger)
        case .disconnect: exchange(&self.disconnect, with: nil)?()
        case .finish:
            self.alarm.cancel()
            // Whoever hears of events has this backend.
            self.sink = nil
        }
    }

    // MARK: Requests

    /// All instances share one command, and one object takes their answers.
    private func ask(_ request: Machine.Request, of instances: InstanceSet, from first: Int, deadline: Instant) {
        let command = self.encodings.command(request)
        let nodes = request.endsWithNode ? self.nodes : nil
        let asked = Asked(request, by: self)
        instances.forEach(from: first) { index in
            // A connection may be found lost while it is written to. What was to be asked there waits for no other one: what takes it
            // back would be there before it.
            if self.isNewsAmongEffects, !self.machine.wants(request, from: index) {
                return asked.completed(index, .failure(RedisError(.notSent, "it was lost meanwhile")))
            }
            self.clients[index].submit(
                command, tail: nodes?[index], deadline: deadline, handler: asked, number: index)
        }
    }

    /// What instances are asked, and who takes their answers, by their places.
    ///
    /// Made and called on the event loop only.
    private final class Asked: RedisOutcomeHandler, @unchecked Sendable {
        private let request: Machine.Request
        // The shell has the clients, whose requests have this. All of those have ended before it is gone.
        private unowned let shell: RedlockShell

        init(_ request: Machine.Request, by shell: RedlockShell) {
            self.request = request
            self.shell = shell
        }

        func completed(_ index: Int, _ outcome: Result<RedisReply, RedisError>) {
            self.shell.answered(self.request, by: index, outcome)
        }

        func isWanted(_ index: Int) -> Bool { self.shell.machine.wants(self.request, from: index) }

        func tail(_ index: Int) -> ByteBuffer? {
            self.request.endsWithNode ? self.shell.nodes[index] : nil
        }
    }

    private func answered(_ request: Machine.Request, by index: Int, _ outcome: Result<RedisReply, RedisError>) {
        switch request {
        case .lock(let proposal):
            let answer = outcome.read { InstanceAcquireReply($0) }
            let (claim, number) = (proposal.claim, proposal.number)
            self.feed { $0.roundAnswered(number, of: claim, by: index, answer, now: $1) }
        case .release(let release):
            switch outcome.read({ $0.int }) {
            case .success(let answer):
                let (election, isProbe) = (release.election, release.isProbe)
                self.feed { $0.releaseAnswered(election, isProbe: isProbe, by: index, answer, now: $1) }
            case .failure(let error):
                self.feed { $0.releaseFailed(release, by: index, error, now: $1) }
            }
        case .renew(let renewal):
            let answer = outcome.read { $0.int }
            self.feed { $0.renewalAnswered(renewal, by: index, answer, now: $1) }
        case .turn(let turn):
            let answer = outcome.read { ClaimReply($0) }
            self.feed { $0.turnAnswered(turn, by: index, answer, now: $1) }
        case .introduction(let look):
            let answer = outcome.read { InstanceInfo($0) }
            self.feed { $0.introductionAnswered(look: look, by: index, answer, now: $1) }
        case .node(let node):
            let answer = outcome.read { InstanceNodeReply($0) }
            self.feed { $0.nodeAnswered(node, by: index, answer, now: $1) }
        case .nothing:
            break
        }
    }

    // MARK: Callers

    func start(delivering sink: any LockEventSink) { self.sink = sink }

    func started(onlyLooks: Bool) { self.feed { $0.started(onlyLooks: onlyLooks, now: $1) } }

    /// - Parameter disconnect: called when nothing is left to be released, or when that takes too long.
    func end(_ disconnect: @escaping () -> Void) {
        self.disconnect = disconnect
        self.feed { $0.ended(now: $1) }
    }

    func stopped() { self.feed { $0.stopped(now: $1) } }

    func request(_ request: AcquireRequest, _ caller: WaitContinuation<Result<AcquireReply, LockError>>) {
        let call = self.add(.request(caller))
        self.feed { $0.requested(request, call, now: $1) }
    }

    func cancel(_ attempt: AttemptID) { self.feed { $0.requestCancelled(attempt, now: $1) } }

    /// Takes a claim back; answers whether it held the lock until now.
    func withdraw(_ attempt: AttemptID, _ caller: WaitContinuation<Result<Bool, LockError>>) {
        let call = self.add(.leave(caller))
        self.feed { $0.withdrawn(attempt, call, now: $1) }
    }

    /// Takes a claim back. Nobody waits for the answer.
    func withdraw(_ attempt: AttemptID) { self.feed { $0.withdrawn(attempt, nil, now: $1) } }

    func renew(_ renewals: [LockRenewal], _ caller: WaitContinuation<[LockRenewalReply]>) {
        let call = self.add(.renewals(caller))
        self.feed { $0.renewalsRequested(renewals, call, now: $1) }
    }

    /// Calls when all instances have been reached or have turned out not to be, or the time for that is over.
    func whenSettled(_ body: @escaping () -> Void) {
        let call = self.add(.inquiry(body))
        self.feed { $0.inquired(call, now: $1) }
    }

    var trouble: LockError? { self.machine.trouble(now: self.environment.now).map { LockError($0, self.silence) } }

    private func add(_ caller: Caller) -> CallID {
        self.lastCall += 1
        let call = CallID(rawValue: self.lastCall)
        self.callers[call] = caller
        return call
    }

    private func answer(_ call: CallID, _ answer: Machine.Answer) {
        switch self.callers.removeValue(forKey: call) {
        case .request(let caller): caller.resume(returning: answer.reply(self.silence))
        case .leave(let caller): caller.resume(returning: answer.wasHeld(self.silence))
        case .renewals(let caller): caller.resume(returning: answer.renewals(self.silence))
        case .inquiry, nil: preconditionFailure("nobody waits for this answer: \(answer)")
        }
    }

    private func begin(_ call: CallID) {
        guard case .inquiry(let body) = self.callers.removeValue(forKey: call) else {
            preconditionFailure("somebody was let begin who did not ask for it")
        }
        body()
    }

    /// Why nothing can be asked of an instance, while the first attempt to connect goes on.
    private func silence(_ index: Int) -> String? { self.clients[index].silence }

    // MARK: Time

    private func start(_ timer: Machine.Timer, _ duration: Duration) {
        let shell = NIOLoopBound(self, eventLoop: self.eventLoop)
        let scheduled = self.eventLoop.scheduleTask(in: TimeAmount(duration)) { shell.value.fired(timer) }
        self.timers.updateValue(scheduled, forKey: timer)?.cancel()
    }

    private func fired(_ timer: Machine.Timer) {
        self.timers[timer] = nil
        self.feed { $0.timerFired(timer, now: $1) }
    }

    // MARK: Connections

    func connected(_ index: Int) { self.feed { $0.connected(index, now: $1) } }

    /// A connection has ended, or none could be made.
    func disconnected(_ index: Int, _ error: RedisError) { self.feed { $0.disconnected(index, error, now: $1) } }

    func pushed(_ elements: [RESPValue], from index: Int) {
        guard let message = InstanceMessage(elements) else { return }
        self.feed { $0.messageCame(message, from: index, now: $1) }
    }
}

// MARK: - By hand

extension RedlockShell: RedlockInstances {
    var standing: RedlockStanding {
        var standing = self.machine.standing(now: self.environment.now)
        for index in self.clients.indices {
            standing.instances[index].isConnected = self.clients[index].state.isConnected
            standing.instances[index].silence = self.silence(index)
        }
        return standing
    }

    var refusal: LockError? { self.machine.refusal(now: self.environment.now).map { LockError($0, self.silence) } }

    func ask(_ command: RedisCommand, of index: Int, then: @escaping (Result<RedisReply, RedisError>) -> Void) {
        // Called on the event loop, where all of it lives.
        nonisolated(unsafe) let then = then
        self.clients[index].submit(command, deadline: self.environment.now + self.patience) { then($0) }
    }
}
