import LockKernel

/// Decides where a master is, and with which epoch, from what its Sentinels say.
///
/// It asks all Sentinels in *rounds*: when a client wants to connect, when one of them tells of a switch (`+switch-master`)
/// or can be reached again, while nothing is known, and every ten seconds. A round ends with a decision, or when every
/// Sentinel has answered or failed.
///
/// **The address** is what a majority of the configured Sentinels answer. **The epoch** is the highest of those records that
/// are calm and have this address (see ``SentinelAnswer/Record/isCalm``); there is none while a calm record has another
/// address with an epoch that is not lower. Each Sentinel changes address and epoch together, so such a pair is one that was
/// decided by an election. A record with another address and a lower epoch lost that election: its Sentinel has not heard of
/// it, because it is cut off together with the old master.
///
/// **A switch** that a single Sentinel tells of is reason enough to leave the old place: it is not gone back to for
/// ``departureLimit``, unless a majority gives it a higher epoch. For a master that is replaced while it lives goes on granting
/// until it hears of that, and the fewer ask it, the better.
///
/// Before the first decision every Sentinel is heard, within ``startGrace``: one that is none is a mistake in the
/// configuration, which is told then, and never stops a client that runs.
///
/// Pure: time is passed in, and the shell carries out what is returned.
struct SentinelMonitorStateMachine {
    typealias Instant = BootInstant

    enum Opinion: Hashable, Sendable {
        case answered(SentinelAnswer)
        /// `isRefusal`: it said something that trying again is not going to change.
        case failed(String, isRefusal: Bool)
        /// It is no Sentinel.
        case foreign(String)
    }

    struct Failure: Equatable {
        var reason: String
        /// Trying again is not going to help.
        var isRefusal: Bool
    }

    enum Verdict: Equatable {
        case found(RedisLocation)
        case failed(Failure)
    }

    struct Action {
        /// Ask every Sentinel, and tell what it says with this number.
        var ask: Int?
        /// For those who wait.
        var verdict: Verdict?
        /// The master is somewhere else, or has another epoch.
        var moved: RedisLocation?
        /// Nothing more is to be asked there.
        var left: RedisLocation?
    }

    private struct Round {
        let number: Int
        let startedAt: Instant
        var opinions: [Opinion?]
        /// Something was heard that answers of this round may not know.
        var isStale = false

        var isSettled: Bool { self.opinions.allSatisfy { $0 != nil } }
    }

    static var startGrace: Duration { .milliseconds(500) }
    /// How often it asks while it has to know and does not.
    static var searchInterval: Duration { .milliseconds(200) }
    /// How often it asks after it heard of a switch that a majority does not know yet.
    static var settleInterval: Duration { .milliseconds(100) }
    static var maximumSettleRounds: Int { 50 }
    /// How long a majority may say that the master is where a Sentinel has told that it is not any more.
    static var departureLimit: Duration { .seconds(3) }
    /// How often it asks in any case: a message may be lost.
    static var idleInterval: Duration { .seconds(10) }

    private let master: String
    private let sentinels: [String]
    private let maximumEpoch: Int64
    private var majority: Int { self.sentinels.count / 2 + 1 }

    private var lastRound = 0
    private var round: Round?
    private(set) var location: RedisLocation?
    private var hasFoundOnce = false
    /// Somebody was told that the master is not known, and it has not been found since.
    private var isMissing = false
    private var settleRoundsLeft = 0
    private var nextRoundAt: Instant?
    private var departure: (from: RedisLocation, until: Instant)?

    /// - Parameters:
    ///   - sentinels: how each is named in errors.
    ///   - maximumEpoch: a higher one is a refusal.
    init(master: String, sentinels: [String], maximumEpoch: Int64) {
        self.master = master
        self.sentinels = sentinels
        self.maximumEpoch = maximumEpoch
    }

    // MARK: Events

    /// Somebody wants to know; the verdict comes with this or a later action.
    mutating func wanted(now: Instant) -> Action {
        Action(ask: self.round == nil ? self.startRound(now) : nil)
    }

    /// A Sentinel told that the master has changed.
    mutating func switched(from old: RedisEndpoint?, now: Instant) -> Action {
        self.settleRoundsLeft = Self.maximumSettleRounds
        var action = self.askAgain(now)
        if let location = self.location, location.endpoint == old, self.departure?.from != location {
            self.departure = (location, now + Self.departureLimit)
            action.left = location
        }
        return action
    }

    /// A Sentinel can be reached, perhaps again.
    mutating func reached(_ index: Int, now: Instant) -> Action {
        // The first round asks those that are being connected to.
        guard self.lastRound > 0 else { return Action() }
        if let round = self.round, round.opinions[index] == nil { return Action() }
        return self.askAgain(now)
    }

    private mutating func askAgain(_ now: Instant) -> Action {
        guard self.round != nil else { return Action(ask: self.startRound(now)) }
        self.round?.isStale = true
        return Action()
    }

    /// What a Sentinel said, or why it said nothing.
    mutating func heard(_ opinion: Opinion, from index: Int, round number: Int, now: Instant) -> Action {
        guard self.round?.number == number else { return Action() }
        switch (opinion, self.round?.opinions[index]) {
        case (.failed, .answered), (.failed, .foreign):
            return Action()
        case (.answered, _), (.foreign, _), (.failed, .failed), (.failed, nil):
            self.round?.opinions[index] = opinion
        }
        return self.concluded(now)
    }

    /// A connection to a Sentinel could not be made.
    mutating func unreachable(_ opinion: Opinion, from index: Int, now: Instant) -> Action {
        guard let round = self.round, round.opinions[index] == nil else { return Action() }
        return self.heard(opinion, from: index, round: round.number, now: now)
    }

    mutating func timerFired(now: Instant) -> Action {
        if self.round != nil { return self.concluded(now) }
        guard let nextRoundAt, nextRoundAt <= now else { return Action() }
        return Action(ask: self.startRound(now))
    }

    /// When ``timerFired(now:)`` has something to do.
    var nextWakeup: Instant? {
        guard let round = self.round else { return self.nextRoundAt }
        return self.hasFoundOnce ? nil : round.startedAt + Self.startGrace
    }

    // MARK: Rounds

    private mutating func startRound(_ now: Instant) -> Int {
        self.lastRound += 1
        self.nextRoundAt = nil
        self.round = Round(
            number: self.lastRound,
            startedAt: now,
            opinions: Array(repeating: nil, count: self.sentinels.count)
        )
        return self.lastRound
    }

    private mutating func concluded(_ now: Instant) -> Action {
        guard let round = self.round, let verdict = self.verdict(of: round, now: now) else { return Action() }
        self.round = nil
        var action = Action(verdict: verdict)
        switch verdict {
        case .found(let location):
            self.hasFoundOnce = true
            self.isMissing = false
            if self.location != location {
                action.moved = location
                self.location = location
                self.settleRoundsLeft = 0
            }
        case .failed:
            self.isMissing = true
        }
        if round.isStale {
            action.ask = self.startRound(now)
        } else if self.settleRoundsLeft > 0 {
            self.settleRoundsLeft -= 1
            self.nextRoundAt = now + Self.settleInterval
        } else {
            self.nextRoundAt = now + (self.isMissing ? Self.searchInterval : Self.idleInterval)
        }
        return action
    }

    private func verdict(of round: Round, now: Instant) -> Verdict? {
        if !self.hasFoundOnce {
            guard round.isSettled || now >= round.startedAt + Self.startGrace else { return nil }
            for (opinion, name) in zip(round.opinions, self.sentinels) {
                if case .foreign(let reason) = opinion {
                    return .failed(Failure(reason: "\(name): \(reason)", isRefusal: true))
                }
            }
        }
        if let location = self.agreed(round.opinions), !self.hasLeft(location, now) {
            guard location.tag <= self.maximumEpoch else { return .failed(self.epochTooHigh(location.tag)) }
            return .found(location)
        }
        return round.isSettled ? .failed(self.failure(round.opinions)) : nil
    }

    private func hasLeft(_ location: RedisLocation, _ now: Instant) -> Bool {
        guard let departure = self.departure, now < departure.until else { return false }
        return location.endpoint == departure.from.endpoint && location.tag <= departure.from.tag
    }

    private func agreed(_ opinions: [Opinion?]) -> RedisLocation? {
        var votes: [RedisEndpoint: Int] = [:]
        var calm: [SentinelAnswer.Record] = []
        for case .answered(let answer) in opinions {
            if let address = answer.address { votes[address, default: 0] += 1 }
            if let record = answer.record, record.isCalm { calm.append(record) }
        }
        guard let address = votes.first(where: { $0.value >= self.majority })?.key,
            let epoch = calm.lazy.filter({ $0.endpoint == address }).map(\.epoch).max(),
            calm.allSatisfy({ $0.endpoint == address || $0.epoch < epoch })
        else { return nil }
        return RedisLocation(endpoint: address, tag: epoch)
    }

    // MARK: Failures

    private func failure(_ opinions: [Opinion?]) -> Failure {
        var unknown = 0
        var refusals = 0
        var texts: [String] = []
        for (opinion, name) in zip(opinions, self.sentinels) {
            switch opinion {
            case .answered(let answer):
                if answer.address == nil { unknown += 1 }
                texts.append("\(name): \(Self.text(answer))")
            case .failed(let reason, let isRefusal):
                if isRefusal { refusals += 1 }
                texts.append("\(name): \(reason)")
            case .foreign(let reason):
                refusals += 1
                texts.append("\(name): \(reason)")
            case nil:
                texts.append("\(name): no answer")
            }
        }
        if unknown >= self.majority {
            return Failure(reason: "the Sentinels know no master '\(self.master)'", isRefusal: true)
        }
        return Failure(
            reason: "the Sentinels do not tell where the master '\(self.master)' is: \(texts.joined(separator: "; "))",
            isRefusal: self.sentinels.count - refusals < self.majority
        )
    }

    private static func text(_ answer: SentinelAnswer) -> String {
        guard let address = answer.address else { return "knows no such master" }
        guard let record = answer.record else { return "says \(address)" }
        return record.isCalm && record.endpoint == address
            ? "says \(address)"
            : "says \(address) (\(record.endpoint) is \(record.flags.sorted().joined(separator: ", ")))"
    }

    private func epochTooHigh(_ epoch: Int64) -> Failure {
        Failure(
            reason: "the Sentinels' epoch of '\(self.master)' is \(epoch); up to \(self.maximumEpoch) can be used",
            isRefusal: true
        )
    }
}
