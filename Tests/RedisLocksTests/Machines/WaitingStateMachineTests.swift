import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

@Suite struct WaitingStateMachineTests {
    private let start = BootInstant.now
    private let first = RedisConnectionID(rawValue: 1)
    private let second = RedisConnectionID(rawValue: 2)
    private let token = FencingToken(rawValue: 7)!

    private func at(_ seconds: Double) -> BootInstant { self.start + .seconds(seconds) }

    private func claim(_ attempt: UInt64, lease: Duration = .seconds(30)) throws -> LockClaim {
        var generator = SystemRandomNumberGenerator()
        return LockClaim(
            attempt: AttemptID(rawValue: attempt),
            name: try LockName("n"),
            owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
            lease: lease
        )
    }

    private func place(
        _ place: Int? = 1,
        _ remaining: ClaimReply.Remaining = .notLookedUp
    ) -> ClaimReply.QueueReply {
        ClaimReply.QueueReply(place: place, remaining: remaining, holder: "")
    }

    private func granted(_ claim: LockClaim) -> PushedMessage {
        .granted(claim.owner.secret, self.token)
    }

    private func queued(
        _ machine: inout WaitingStateMachine,
        _ claim: LockClaim,
        _ reply: ClaimReply.QueueReply? = nil,
        at seconds: Double = 0
    ) -> WaitingStateMachine.PushAction {
        machine.requested(claim)
        return machine.queued(
            claim.attempt,
            reply ?? self.place(),
            sentAt: self.at(seconds),
            connection: self.first,
            now: self.at(seconds)
        )
    }

    @Test func `a pushed grant counts from when the answered registration was sent`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        #expect(self.queued(&machine, claim) == .ignore)
        let validUntil = LockValidity.deadline(lease: claim.lease, sentAt: self.at(0))
        #expect(
            machine.pushed(self.granted(claim), connection: self.first, now: self.at(1))
                == .grant(claim.attempt, self.token, validUntil: validUntil)
        )
        let wakeup = machine.nextWakeup()
        #expect(wakeup == nil)
        #expect(machine.waitingCount == 0)
    }

    @Test func `a touch that is still out is no anchor, one that was answered is`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        #expect(machine.timerFired(now: self.at(2)) == [WaitingStateMachine.Touch(attempt: claim.attempt)])
        var pushedEarly = machine
        #expect(
            pushedEarly.pushed(self.granted(claim), connection: self.first, now: self.at(2.1))
                == .grant(
                    claim.attempt,
                    self.token,
                    validUntil: LockValidity.deadline(lease: claim.lease, sentAt: self.at(0))
                )
        )
        let answer = machine.touchAnswered(
            claim.attempt,
            .queued(self.place()),
            sentAt: self.at(2),
            connection: self.first,
            now: self.at(2.1)
        )
        #expect(answer == .none)
        #expect(
            machine.pushed(self.granted(claim), connection: self.first, now: self.at(2.2))
                == .grant(
                    claim.attempt,
                    self.token,
                    validUntil: LockValidity.deadline(lease: claim.lease, sentAt: self.at(2))
                )
        )
    }

    @Test func `a hand-over that does not count by itself is asked about, once, also if it is faster than the answer`()
        throws
    {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        let message = PushedMessage.handedOver(claim.owner.secret)
        var early = machine
        _ = self.queued(&machine, claim)
        #expect(machine.pushed(message, connection: self.first, now: self.at(1)) == .touch(claim.attempt))
        let wakeup = machine.nextWakeup()
        #expect(wakeup == nil)
        // The touch is out, and finds the grant.
        #expect(machine.pushed(message, connection: self.first, now: self.at(1)) == .ignore)
        #expect(
            machine.touchAnswered(
                claim.attempt,
                .granted(self.token),
                sentAt: self.at(1),
                connection: self.first,
                now: self.at(1.1)
            ) == .grant(self.token, validUntil: LockValidity.deadline(lease: claim.lease, sentAt: self.at(1)))
        )
        early.requested(claim)
        #expect(early.pushed(message, connection: self.first, now: self.at(0)) == .ignore)
        #expect(self.queued(&early, claim) == .touch(claim.attempt))
    }

    @Test func `a push that is faster than the answer waits for it`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        machine.requested(claim)
        #expect(machine.pushed(self.granted(claim), connection: self.first, now: self.at(0.5)) == .ignore)
        #expect(
            self.queued(&machine, claim)
                == .grant(
                    claim.attempt,
                    self.token,
                    validUntil: LockValidity.deadline(lease: claim.lease, sentAt: self.at(0))
                )
        )
    }

    @Test func `a push of an earlier connection is ignored, also one that came before the answer`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        #expect(machine.pushed(self.granted(claim), connection: self.second, now: self.at(1)) == .ignore)
        let other = try self.claim(2)
        machine.requested(other)
        #expect(machine.pushed(self.granted(other), connection: self.second, now: self.at(1)) == .ignore)
        #expect(self.queued(&machine, other, at: 1) == .ignore)
        #expect(machine.waitingCount == 2)
    }

    @Test func `a pushed grant with little left is asked for once more`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        #expect(
            machine.pushed(self.granted(claim), connection: self.first, now: self.at(20)) == .touch(claim.attempt)
        )
        #expect(machine.pushed(self.granted(claim), connection: self.first, now: self.at(20)) == .ignore)
        #expect(
            machine.touchAnswered(
                claim.attempt,
                .granted(self.token),
                sentAt: self.at(20),
                connection: self.first,
                now: self.at(20.1)
            )
                == .grant(self.token, validUntil: LockValidity.deadline(lease: claim.lease, sentAt: self.at(20)))
        )
    }

    @Test(arguments: [(30.0, 2.0), (3.0, 1.0), (0.3, 0.1)])
    func `a waiter shows that it lives every third of its lease, at least every two seconds`(
        lease: Double,
        interval: Double
    ) throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1, lease: .seconds(lease))
        _ = self.queued(&machine, claim)
        let next = machine.nextWakeup()
        let wakeup = try #require(next)
        #expect(abs((wakeup - self.at(interval)) / .seconds(1)) < 0.001)
        #expect(WaitingStateMachine.registration(lease: claim.lease) <= claim.lease)
    }

    @Test func `the next one looks when the holder's lease has passed`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim, self.place(0, .milliseconds(500)))
        var wakeup = machine.nextWakeup()
        #expect(wakeup == self.at(0.501))
        let foreign = try self.claim(2)
        _ = self.queued(&machine, foreign, self.place(0, .unlimited), at: 10)
        machine.ended(claim.attempt)
        wakeup = machine.nextWakeup()
        #expect(wakeup == self.at(12))
    }

    @Test func `a new connection touches everyone at once, and nobody twice`() throws {
        var machine = WaitingStateMachine()
        let claims = try (1...3).map { try self.claim($0) }
        for claim in claims { _ = self.queued(&machine, claim) }
        #expect(machine.timerFired(now: self.at(2)).count == 3)
        #expect(machine.touchFailed(claims[1].attempt, .noAnswer, now: self.at(3)) == .wait)
        #expect(machine.connected() == [WaitingStateMachine.Touch(attempt: claims[1].attempt)])
        #expect(machine.connected() == [])
    }

    @Test func `an answer of an earlier connection does not replace a later anchor`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        machine.requested(claim)
        _ = machine.queued(claim.attempt, self.place(), sentAt: self.at(5), connection: self.second, now: self.at(5))
        let late = machine.touchAnswered(
            claim.attempt,
            .queued(self.place()),
            sentAt: self.at(6),
            connection: self.first,
            now: self.at(7)
        )
        #expect(late == .none)
        #expect(machine.pushed(self.granted(claim), connection: self.first, now: self.at(7)) == .ignore)
    }

    @Test func `a failed touch is repeated, soon at first and then at the usual interval`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        var pauses: [Double] = []
        var now = self.at(2)
        for _ in 0..<8 {
            #expect(machine.timerFired(now: now).count == 1)
            #expect(machine.touchFailed(claim.attempt, .noAnswer, now: now) == .wait)
            let wakeup = machine.nextWakeup()
            let next = try #require(wakeup)
            pauses.append((next - now) / .seconds(1))
            now = next
        }
        #expect(pauses.first! <= 0.2)
        #expect(pauses.last! == 1.6)
        #expect(pauses == pauses.sorted())
    }

    /// When a claim is given up whose touches fail like this, one after another, and after how many.
    private func givenUp(
        _ lease: Duration = .seconds(30),
        by failure: (Int) -> WaitingStateMachine.TouchFailure
    ) throws -> (after: Double, count: Int)? {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1, lease: lease)
        _ = self.queued(&machine, claim)
        var wakeup = machine.nextWakeup()
        let first = try #require(wakeup)
        var now = first
        for count in 1...100 {
            #expect(machine.timerFired(now: now).count == 1)
            if machine.touchFailed(claim.attempt, failure(count), now: now) == .giveUp {
                #expect(machine.count == 0 && machine.waitingCount == 0)
                wakeup = machine.nextWakeup()
                #expect(wakeup == nil)
                return ((now - first) / .seconds(1), count)
            }
            wakeup = machine.nextWakeup()
            now = try #require(wakeup)
        }
        return nil
    }

    @Test func `a touch that is refused for good is repeated for two seconds, and then the claim cannot be granted`()
        throws
    {
        let (after, count) = try #require(try self.givenUp { _ in .lastingRefusal })
        #expect(after >= 2 && after <= 4)
        #expect(count == 6)
        // With a short lease, too.
        let short = try #require(try self.givenUp(.milliseconds(300)) { _ in .lastingRefusal })
        #expect(short.after >= 2 && short.after < 2.2)
    }

    @Test func `refusals that pass, and touches that are not answered, are repeated without end`() throws {
        #expect(try self.givenUp { _ in .passingRefusal } == nil)
        #expect(try self.givenUp { _ in .noAnswer } == nil)
        // Not in a row.
        #expect(try self.givenUp { $0.isMultiple(of: 3) ? .passingRefusal : .lastingRefusal } == nil)
        // What is not answered says nothing about what would have been said.
        #expect(try self.givenUp { $0.isMultiple(of: 2) ? .noAnswer : .lastingRefusal } != nil)
    }

    @Test func `one refusal a long time after another is no reason to give up`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        for (second, failure) in [(2.0, WaitingStateMachine.TouchFailure.lastingRefusal), (60, .noAnswer)] {
            #expect(machine.timerFired(now: self.at(second)).count == 1)
            #expect(machine.touchFailed(claim.attempt, failure, now: self.at(second)) == .wait)
        }
        #expect(machine.timerFired(now: self.at(120)).count == 1)
        #expect(machine.touchFailed(claim.attempt, .lastingRefusal, now: self.at(120)) == .wait)
    }

    @Test func `an answered touch makes up for the refusals before it`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        for number in 0..<20 {
            let now = self.at(2 + Double(number) * 2)
            #expect(machine.timerFired(now: now).count == 1)
            if number.isMultiple(of: 2) {
                #expect(machine.touchFailed(claim.attempt, .lastingRefusal, now: now) == .wait)
            } else {
                let answer = machine.touchAnswered(
                    claim.attempt, .queued(self.place()), sentAt: now, connection: self.first, now: now)
                #expect(answer == .none)
            }
        }
    }

    @Test func `a place that is gone is told once, and forgotten`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        _ = self.queued(&machine, claim)
        _ = machine.timerFired(now: self.at(2))
        let action = machine.touchAnswered(
            claim.attempt,
            .gone,
            sentAt: self.at(2),
            connection: self.first,
            now: self.at(2)
        )
        #expect(action == .gone)
        #expect(machine.count == 0)
        #expect(machine.waitingCount == 0)
        #expect(machine.pushed(self.granted(claim), connection: self.first, now: self.at(2)) == .ignore)
    }

    @Test func `what is heard of a claim that ended is ignored`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        machine.requested(claim)
        machine.ended(claim.attempt)
        let late = machine.queued(
            claim.attempt,
            self.place(),
            sentAt: self.at(0),
            connection: self.first,
            now: self.at(0)
        )
        #expect(late == .ignore)
        #expect(machine.granted(claim.attempt) == false)
        let wakeup = machine.nextWakeup()
        #expect(wakeup == nil)
        #expect(machine.count == 0)
    }

    @Test func `a revocation names a holder by its secret`() throws {
        var machine = WaitingStateMachine()
        let claim = try self.claim(1)
        machine.requested(claim)
        #expect(machine.granted(claim.attempt) == true)
        let other = try self.claim(2)
        #expect(
            machine.pushed(.broken(other.owner.secret), connection: self.first, now: self.at(0)) == .ignore
        )
        #expect(
            machine.pushed(.broken(claim.owner.secret), connection: self.first, now: self.at(0))
                == .lost(claim.attempt)
        )
    }
}
