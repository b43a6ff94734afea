import LockKernel
import Testing

@testable import DistributedLocks

/// The engine in words: who waits and what is held are strings.
@Suite struct LockEngineTests {
    private typealias Engine = LockEngine<String, String, String>

    private func at(_ seconds: Double) -> BootInstant { start + .seconds(seconds) }

    private func new(_ scope: LockCapabilities.LeaseScope = .grant) -> Engine {
        let capabilities = LockCapabilities(
            kind: "test", leaseRange: .seconds(1)...(.seconds(60)), leaseScope: scope, fairness: .firstInFirstOut)
        return Engine(capabilities: capabilities, shutdownTimeout: .seconds(2))
    }

    private func running(_ scope: LockCapabilities.LeaseScope = .grant) -> Engine {
        var engine = self.new(scope)
        #expect(engine.runCalled() == true)
        #expect(self.words(engine.started()) == [])
        return engine
    }

    private func words(_ effects: Engine.Effects) -> [String] {
        var words: [String] = []
        effects.forEach { words.append(self.word($0)) }
        return words
    }

    private func word(_ effect: Engine.Effect) -> String {
        switch effect {
        case .start(let starter): "start \(starter)"
        case .resume(let waiter, let end): "resume \(waiter) \(self.word(end))"
        case .lose(let held, let reason): "lose \(held) \(reason.rawValue)"
        case .end(let held): "end \(held)"
        case .takeBack(let held): "take back \(held)"
        case .cleanUp(let claim): "clean up \(claim.attempt)"
        case .extend(let held, let until): "extend \(held) to \((until - start) / .seconds(1))"
        case .releaseUnremembered(let claim): "release \(claim.attempt)"
        case .reportWait(let claim, let holders): "\(claim.attempt) waits for \(holders.map(\.description))"
        case .reportAbandoned(let claim): "abandoned \(claim.attempt)"
        case .wake: "wake"
        }
    }

    private func word(_ end: AttemptEnd) -> String {
        switch end {
        case .startAnew: "anew"
        case .finished(.granted): "granted"
        case .finished(.failed(let failure, let withdraw)): "\(failure)\(withdraw ? " withdraw" : "")"
        }
    }

    private func words(_ tick: (due: Engine.Due, effects: Engine.Effects)) -> [String] {
        self.words(tick.effects) + tick.due.renewals.map { "renew \($0.claim.attempt)" }
            + tick.due.withdrawals.map { "withdraw \($0.attempt)" }
    }

    private func begun(_ number: UInt64, in engine: inout Engine, deadline: BootInstant? = nil) throws -> LockClaim {
        let claim = try LockClaim.test(number)
        #expect(engine.attemptBegan(claim, latest: nil, deadline: deadline) != nil)
        return claim
    }

    private func grant(_ token: UInt64, until seconds: Double) throws -> LockGrant {
        try LockGrant.test(Int64(token), validUntil: self.at(seconds).continuous)
    }

    /// A grant that was taken, with a lease of 30 s.
    private func held(_ number: UInt64, until seconds: Double = 10, in engine: inout Engine) throws -> LockClaim {
        let claim = try self.begun(number, in: &engine)
        let grant = try self.grant(number, until: seconds)
        guard case .finish(.granted) = engine.replyArrived(.granted(grant), for: claim.attempt) else {
            Issue.record("not granted")
            return claim
        }
        let taken = engine.taken(claim, grant, as: "h\(number)", holdingAtMost: nil, now: start)
        guard case .held = taken else {
            Issue.record("\(taken)")
            return claim
        }
        return claim
    }

    private func queued(_ number: UInt64, in engine: inout Engine, deadline: BootInstant? = nil) throws -> LockClaim {
        let claim = try self.begun(number, in: &engine, deadline: deadline)
        let place = QueuePlace(waitersAhead: nil, holders: [])
        guard case .wait = engine.replyArrived(.queued(place), for: claim.attempt) else {
            Issue.record("not queued")
            return claim
        }
        #expect(engine.endAwaited(claim.attempt, by: "w\(number)") == nil)
        return claim
    }

    @Test func `whom a call waits for is reported when that is news, and told when its time is over`() throws {
        var engine = self.running()
        let claim = try self.queued(1, in: &engine, deadline: self.at(5))
        let (a, b) = (OwnerMetadata(host: "a", pid: 1), OwnerMetadata(host: "b", pid: 2))
        #expect(self.words(engine.told(.held(claim.attempt, by: [a]), now: start)) == ["1 waits for [\"pid 1 on a\"]"])
        #expect(self.words(engine.told(.held(claim.attempt, by: [a]), now: start)) == [])
        #expect(self.words(engine.told(.held(claim.attempt, by: [b]), now: start)) == ["1 waits for [\"pid 2 on b\"]"])
        #expect(engine.holders(of: claim.attempt) == [b])
        // Nobody waits by that name.
        #expect(self.words(engine.told(.held(AttemptID(rawValue: 9), by: [a]), now: start)) == [])
        guard case .finished(.failed(.timedOut(let holders), _)) = self.end(of: claim, at: 5, &engine) else {
            Issue.record("not timed out")
            return
        }
        #expect(holders == [b])
    }

    /// What becomes of an attempt whose time is over.
    private func end(of claim: LockClaim, at seconds: Double, _ engine: inout Engine) -> AttemptEnd? {
        _ = engine.timerFired(now: self.at(seconds))
        return engine.end(of: claim.attempt)
    }

    @Test func `nothing is begun before it runs, nor when it stops`() throws {
        var engine = self.new()
        let claim = try LockClaim.test(1)
        #expect(engine.start == .new)
        #expect(engine.attemptBegan(claim, latest: nil, deadline: nil) == nil)
        #expect(engine.startAwaited(7, by: "s") == true)
        #expect(engine.runCalled() == true)
        #expect(engine.runCalled() == false)
        #expect(self.words(engine.started()) == ["start s"])
        #expect(engine.startAwaited(8, by: "t") == false)
        #expect(engine.start == .running)
        #expect(self.words(engine.stopWanted()) == ["wake"])
        #expect(self.words(engine.stopWanted()) == [])
        #expect(engine.start == .ended)
        #expect(engine.attemptBegan(claim, latest: nil, deadline: nil) == nil)
    }

    @Test func `whoever waits for the start is let go by the end, too`() {
        var engine = self.new()
        #expect(engine.startAwaited(7, by: "s") == true)
        #expect(engine.startAwaited(8, by: "t") == true)
        #expect(engine.startNoLongerAwaited(8) == "t")
        #expect(self.words(engine.ended()) == ["start s"])
    }

    @Test func `an event resumes whoever waits, with the end, and once`() throws {
        var engine = self.running()
        let claim = try self.queued(1, in: &engine)
        #expect(engine.queuedCount == 1)
        let grant = try self.grant(1, until: 10)
        #expect(self.words(engine.told(.granted(claim.attempt, grant), now: start)) == ["resume w1 granted"])
        #expect(self.words(engine.told(.granted(claim.attempt, grant), now: start)) == [])
        #expect(self.words(engine.cancelled(claim.attempt)) == [])
        #expect(engine.end(of: claim.attempt).map(self.word) == "granted")
        #expect(engine.queuedCount == 0)
    }

    @Test func `an end that comes before its waiter is kept for it`() throws {
        var engine = self.running()
        let claim = try self.begun(1, in: &engine)
        _ = engine.replyArrived(.queued(QueuePlace(waitersAhead: nil, holders: [])), for: claim.attempt)
        #expect(self.words(engine.told(.gone(claim.attempt), now: start)) == [])
        let end = engine.endAwaited(claim.attempt, by: "w")
        #expect(end.map(self.word) == "anew")
        #expect(self.words(engine.attemptOver(claim)) == [])
        #expect(engine.end(of: claim.attempt) == nil)
    }

    @Test func `whoever gives the wait up is not resumed by the end`() throws {
        var engine = self.running()
        let claim = try self.queued(1, in: &engine)
        #expect(engine.endNoLongerAwaited(claim.attempt) == "w1")
        #expect(engine.endNoLongerAwaited(claim.attempt) == nil)
        #expect(self.words(engine.told(.failed(claim.attempt, LockError(.serverRefused, "no")), now: start)) == [])
    }

    @Test func `a caller's time is over by the timer, and its claim is taken back`() throws {
        var engine = self.running()
        let claim = try self.queued(1, in: &engine, deadline: self.at(2))
        #expect(engine.slept(now: start) == self.at(2))
        #expect(self.words(engine.timerFired(now: self.at(1))) == [])
        let (due, effects) = engine.timerFired(now: self.at(2))
        #expect(self.words(effects) == ["resume w1 timedOut(heldBy: []) withdraw"])
        #expect(due.waiterCount == 1)
        #expect(self.words(engine.cleanUpWanted(claim, now: self.at(2))) == ["wake"])
        #expect(engine.hasUnconfirmedReleases)
        #expect(self.words(engine.timerFired(now: self.at(2))) == ["withdraw 1"])
        #expect(engine.hasUnconfirmedReleases)
        #expect(self.words(engine.withdrawn(claim.attempt)) == ["wake"])
        #expect(!engine.hasUnconfirmedReleases)
    }

    @Test func `a claim that was not taken back is tried again, and told of when its lease is over`() throws {
        var engine = self.running()
        let claim = try self.begun(1, in: &engine)
        _ = engine.cleanUpWanted(claim, now: start)
        #expect(self.words(engine.timerFired(now: start)) == ["withdraw 1"])
        #expect(self.words(engine.withdrawalFailed(claim.attempt, now: start, jitter: 0)) == ["wake"])
        #expect(self.words(engine.timerFired(now: self.at(1))) == ["withdraw 1"])
        _ = engine.withdrawalFailed(claim.attempt, now: self.at(59), jitter: 1)
        #expect(self.words(engine.timerFired(now: self.at(62))) == ["abandoned 1"])
        #expect(!engine.hasUnconfirmedReleases)
    }

    @Test func `a grant that comes when the attempt is over is taken back by whoever sees its end`() throws {
        var engine = self.running()
        let claim = try self.begun(1, in: &engine)
        _ = engine.cancelled(claim.attempt)
        let grant = try self.grant(1, until: 10)
        #expect(self.words(engine.told(.granted(claim.attempt, grant), now: start)) == [])
        #expect(self.words(engine.attemptOver(claim)) == ["clean up 1"])
        #expect(self.words(engine.cleanUpWanted(claim, now: start)) == ["wake"])
        #expect(self.words(engine.timerFired(now: start)) == ["withdraw 1"])
    }

    @Test func `a grant that comes after the deadline and before its caller is taken back, too`() throws {
        var engine = self.running()
        let claim = try self.queued(1, in: &engine, deadline: self.at(2))
        #expect(self.words(engine.timerFired(now: self.at(2))) == ["resume w1 timedOut(heldBy: []) withdraw"])
        let grant = try self.grant(1, until: 10)
        #expect(self.words(engine.told(.granted(claim.attempt, grant), now: self.at(2))) == [])
        #expect(engine.end(of: claim.attempt).map(self.word) == "timedOut(heldBy: []) withdraw")
        #expect(self.words(engine.attemptOver(claim)) == ["clean up 1"])
        #expect(self.words(engine.cleanUpWanted(claim, now: self.at(2))) == ["wake"])
        #expect(self.words(engine.timerFired(now: self.at(2))) == ["withdraw 1"])
    }

    @Test func `a grant is renewed, extended and lost, and its holder hears each`() throws {
        var engine = self.running()
        let claim = try self.held(1, in: &engine)
        #expect(engine.slept(now: start) != nil)
        #expect(self.words(engine.timerFired(now: self.at(5))) == ["renew 1"])
        let renewal = LockRenewal(claim: claim, latest: self.at(10))
        let until = self.at(15).continuous
        #expect(
            self.words(engine.renewed([renewal], [.extended(until: until)], now: self.at(5)))
                == ["extend h1 to 15.0", "wake"])
        #expect(
            self.words(engine.told(.extended(claim.attempt, until: self.at(16).continuous), now: self.at(6)))
                == ["extend h1 to 16.0"])
        #expect(self.words(engine.told(.lost(claim.attempt, .notOwner), now: self.at(6))) == ["lose h1 notOwner"])
        // It was stopped until after the end of its lease: that came first.
        #expect(self.words(engine.told(.lost(claim.attempt, .notOwner), now: self.at(16))) == ["lose h1 leaseExpired"])
        #expect(engine.lossFound(claim.attempt) == true)
        // Whoever has found it declares it.
        #expect(self.words(engine.told(.lost(claim.attempt, .broken), now: self.at(16))) == [])
        #expect(engine.releaseBegan(claim.attempt) == true)
        #expect(engine.releaseBegan(claim.attempt) == false)
        #expect(engine.lossFound(claim.attempt) == false)
        #expect(engine.hasUnconfirmedReleases)
        #expect(engine.releaseEnded() == false)
        #expect(!engine.hasUnconfirmedReleases)
    }

    @Test func `renewals that are lost or fail are told apart, each grant by itself`() throws {
        var engine = self.running()
        let claims = [try self.held(1, in: &engine), try self.held(2, in: &engine)]
        let renewals = claims.map { LockRenewal(claim: $0, latest: self.at(10)) }
        #expect(self.words(engine.timerFired(now: self.at(4))) == ["renew 1", "renew 2"])
        let replies: [LockRenewalReply] = [.lost(.notOwner), .failed(LockError(.unreachable, "no"))]
        #expect(self.words(engine.renewed(renewals, replies, now: self.at(4))) == ["lose h1 notOwner", "wake"])
        #expect(engine.lossFound(claims[0].attempt) == true)
        // The other one is tried again soon.
        #expect(self.words(engine.timerFired(now: self.at(7))) == ["renew 2"])
    }

    @Test func `a lease that ends is a loss without any answer`() throws {
        var engine = self.running()
        _ = try self.held(1, in: &engine)
        #expect(self.words(engine.timerFired(now: self.at(10))) == ["lose h1 leaseExpired"])
    }

    @Test func `a reconnect has everything renewed at once`() throws {
        var engine = self.running()
        _ = try self.held(1, until: 30, in: &engine)
        #expect(engine.slept(now: start) == self.at(10))
        #expect(self.words(engine.told(.reconnected, now: self.at(1))) == ["wake"])
        #expect(self.words(engine.timerFired(now: self.at(1))) == ["renew 1"])
    }

    @Test func `a grant that has ended, that does not rise, or that nobody can take any more is not held`() throws {
        var engine = self.running()
        _ = try self.held(5, in: &engine)
        let late = try self.begun(6, in: &engine)
        let ended = try self.grant(6, until: 0)
        #expect(engine.taken(late, ended, as: "h", holdingAtMost: nil, now: start) == .hasEnded(.leaseExpired))
        let broken = try self.begun(7, in: &engine)
        #expect(self.words(engine.told(.lost(broken.attempt, .broken), now: start)) == [])
        let valid = try self.grant(7, until: 10)
        #expect(engine.taken(broken, valid, as: "h", holdingAtMost: nil, now: start) == .hasEnded(.broken))
        let low = try self.begun(8, in: &engine)
        let lower = try self.grant(4, until: 10)
        let five = try #require(FencingToken(rawValue: 5))
        #expect(engine.taken(low, lower, as: "h", holdingAtMost: nil, now: start) == .refused(highest: five))
        _ = engine.stopWanted()
        #expect(engine.taken(low, valid, as: "h", holdingAtMost: nil, now: start) == .stopped)
    }

    @Test func `a client that stops tells everybody, and takes back after half of its time what is not let go of`()
        throws
    {
        var engine = self.running()
        let claim = try self.held(1, in: &engine)
        let waiter = try self.queued(2, in: &engine)
        #expect(
            self.words(engine.stopWanted()) == ["lose h1 clientStopped", "resume w2 clientStopped withdraw", "wake"])
        #expect(engine.lossFound(claim.attempt) == true)
        #expect(engine.roundEnded(now: start).isLast == false)
        #expect(engine.slept(now: start) == self.at(1))
        _ = engine.cleanUpWanted(waiter, now: start)
        #expect(self.words(engine.timerFired(now: start)) == ["withdraw 2"])
        _ = engine.withdrawn(waiter.attempt)
        let half = engine.roundEnded(now: self.at(1))
        #expect(!half.isLast)
        #expect(self.words(half.effects) == ["take back h1"])
        _ = engine.cleanUpWanted(claim, now: self.at(1))
        #expect(self.words(engine.timerFired(now: self.at(1))) == ["withdraw 1"])
        #expect(engine.roundEnded(now: self.at(1.5)).isLast == false)
        #expect(engine.slept(now: self.at(1.5)) == self.at(2))
        // Nothing is waited for any longer, whatever is left.
        #expect(engine.roundEnded(now: self.at(2)).isLast == true)
        #expect(engine.hasUnconfirmedReleases)
        #expect(self.words(engine.ended()) == [])
    }

    @Test func `a client that stops ends when a release that is under way has ended`() throws {
        var engine = self.running()
        let claim = try self.held(1, in: &engine)
        _ = engine.stopWanted()
        #expect(engine.releaseBegan(claim.attempt) == true)
        #expect(engine.roundEnded(now: start).isLast == false)
        #expect(engine.releaseEnded() == true)
        #expect(engine.roundEnded(now: start).isLast == true)
    }

    @Test func `what is held at the end is held by nobody`() throws {
        var engine = self.running()
        _ = try self.held(2, in: &engine)
        _ = try self.held(3, in: &engine)
        #expect(self.words(engine.ended()) == ["end h2", "end h3"])
        #expect(self.words(engine.ended()) == [])
    }

    @Test func `where leases belong to the session, whoever does not let go of a lost lock is not waited for`() throws {
        var engine = self.running(.session)
        let claim = try self.held(1, in: &engine)
        #expect(
            self.words(engine.told(.sessionExtended(until: self.at(12).continuous), now: start)) == [
                "extend h1 to 12.0"
            ])
        #expect(self.words(engine.told(.sessionLost, now: start)) == ["lose h1 sessionEnded"])
        #expect(engine.lossFound(claim.attempt) == true)
        #expect(self.words(engine.lossDeclared(claim, now: start)) == ["wake"])
        #expect(self.words(engine.timerFired(now: self.at(1))) == ["withdraw 1"])
        // Elsewhere the lease does that.
        var other = self.running()
        let lease = try self.held(2, in: &other)
        #expect(self.words(other.lossDeclared(lease, now: start)) == [])
    }

    @Test func `more claims than can be remembered are released without an answer`() throws {
        var engine = self.running()
        for number in 1...UInt64(CleanupStateMachine.maximumCount) {
            _ = engine.cleanUpWanted(try LockClaim.test(number), now: start)
        }
        let one = try LockClaim.test(100_000)
        #expect(self.words(engine.cleanUpWanted(one, now: start)) == ["release 100000", "wake"])
    }
}
