import LockKernel
import LockTransport
import Logging
import NIOCore

/// The shell of ``SentinelMonitorStateMachine``, on the event loop.
final class SentinelMonitorLoop {
    /// A Sentinel that has not answered by then has no say in a round.
    private static let askTimeout: Duration = .seconds(1)

    private let configuration: SentinelConfiguration
    private let environment: Environment
    private let logger: Logger
    private var machine: SentinelMonitorStateMachine
    private let timer: EventLoopTimer
    private var clients: [RedisClient] = []
    private var isStopped = false
    /// The round that was to be asked before there were clients.
    private var roundToAsk: Int?
    private var waiting: [(Result<RedisLocation, RedisError>) -> Void] = []
    var followers: [RedisClient] = []

    init(configuration: SentinelConfiguration, eventLoop: any EventLoop, environment: Environment, logger: Logger) {
        self.configuration = configuration
        self.environment = environment
        self.logger = logger
        self.timer = EventLoopTimer(eventLoop: eventLoop, environment: environment)
        self.machine = SentinelMonitorStateMachine(
            master: configuration.master,
            sentinels: configuration.sentinels.map(\.description),
            maximumEpoch: configuration.maximumEpoch
        )
    }

    // MARK: Events

    func start(_ clients: [RedisClient]) {
        self.clients = clients
        if let round = exchange(&self.roundToAsk, with: nil) { self.ask(round) }
    }

    func stop() {
        self.isStopped = true
        self.timer.cancel()
        self.clients = []
        self.followers = []
        let error = RedisError(.stopped, "the client was stopped")
        for completion in exchange(&self.waiting, with: []) { completion(.failure(error)) }
    }

    func locate(_ completion: @escaping (Result<RedisLocation, RedisError>) -> Void) {
        guard !self.isStopped else { return completion(.failure(RedisError(.stopped, "the client was stopped"))) }
        self.waiting.append(completion)
        self.perform(self.machine.wanted(now: self.environment.now))
    }

    func reached(_ index: Int) { self.perform(self.machine.reached(index, now: self.environment.now)) }

    /// - Parameter message: the master's name, its old address and port, its new address and port.
    func switched(_ message: String) {
        let words = message.split(separator: " ")
        guard words.count == 5, words[0] == self.configuration.master else { return }
        let old = Int(words[2]).map { RedisEndpoint.tcp(host: String(words[1]), port: $0) }
        self.perform(self.machine.switched(from: old, now: self.environment.now))
    }

    func unreachable(_ index: Int, _ error: RedisError) {
        self.perform(self.machine.unreachable(Self.opinion(error), from: index, now: self.environment.now))
    }

    // MARK: Actions

    private func perform(_ action: SentinelMonitorStateMachine.Action) {
        guard !self.isStopped else { return }
        if let location = action.moved {
            self.logger.info(
                "the master is found",
                metadata: [
                    "redis.master": "\(self.configuration.master)", "redis.endpoint": "\(location.endpoint)",
                    "redis.epoch": "\(location.tag)",
                ]
            )
        }
        if let location = action.left { for follower in self.followers { follower.left(location) } }
        if let verdict = action.verdict { self.tell(verdict) }
        if let location = action.moved { for follower in self.followers { follower.moved(to: location) } }
        if let round = action.ask { self.ask(round) }
        self.armTimer()
    }

    private func tell(_ verdict: SentinelMonitorStateMachine.Verdict) {
        let result: Result<RedisLocation, RedisError> =
            switch verdict {
            case .found(let location): .success(location)
            case .failed(let failure):
                .failure(RedisError(failure.isRefusal ? .unusableServer : .notSent, failure.reason))
            }
        // What they do may ask again at once.
        for completion in exchange(&self.waiting, with: []) { completion(result) }
    }

    private func armTimer() {
        guard let instant = self.machine.nextWakeup else { return self.timer.cancel() }
        self.timer.arm(instant) { [weak self] in
            guard let self else { return }
            self.perform(self.machine.timerFired(now: self.environment.now))
        }
    }

    // MARK: Asking

    private func ask(_ round: Int) {
        guard !self.clients.isEmpty else { return self.roundToAsk = round }
        for (index, client) in self.clients.enumerated() { self.ask(client, index, round) }
    }

    private func ask(_ client: RedisClient, _ index: Int, _ round: Int) {
        // Whoever could not be reached a moment ago is not waited for.
        if case .backingOff = client.state, let error = client.lastError {
            return self.heard(Self.opinion(error), index, round)
        }
        let deadline = self.environment.now + Self.askTimeout
        let commands = SentinelAnswer.commands(self.configuration.master)
        let monitor = NIOLoopBound(self, eventLoop: client.eventLoop)
        let address = NIOLoopBoundBox<RedisClient.Outcome?>(nil, eventLoop: client.eventLoop)
        client.submit(commands[0], deadline: deadline) { address.value = $0 }
        client.submit(commands[1], deadline: deadline) { record in
            guard let address = address.value else { preconditionFailure("replies came in another order") }
            monitor.value.heard(Self.opinion(address, record), index, round)
        }
    }

    private func heard(_ opinion: SentinelMonitorStateMachine.Opinion, _ index: Int, _ round: Int) {
        self.perform(self.machine.heard(opinion, from: index, round: round, now: self.environment.now))
    }

    private static func opinion(
        _ address: RedisClient.Outcome,
        _ record: RedisClient.Outcome
    ) -> SentinelMonitorStateMachine.Opinion {
        switch (address, record) {
        case (.failure(let error), _):
            return Self.opinion(error)
        case (.success(let reply), .failure(let error)):
            if case .null = reply.value { return .answered(SentinelAnswer(address: nil, record: nil)) }
            return Self.opinion(error)
        case (.success(let address), .success(let record)):
            guard let answer = SentinelAnswer(address: address.value, record: record.value) else {
                return .failed("its answer makes no sense", isRefusal: false)
            }
            return .answered(answer)
        }
    }

    private static func opinion(_ error: RedisError) -> SentinelMonitorStateMachine.Opinion {
        switch error.code {
        case .unusableServer where error.reason == SentinelConfiguration.notASentinel: .foreign(error.reason)
        case .unusableServer, .refused: .failed(error.reason, isRefusal: true)
        case .notSent, .outcomeUnknown, .cancelled, .stopped: .failed(error.reason, isRefusal: false)
        }
    }
}
