import DistributedLocks
import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

@Suite struct MasterMachineTests {
    private let start = BootInstant.now
    private let one = RedisConnectionID(rawValue: 1)
    private let two = RedisConnectionID(rawValue: 2)
    private let lease = Duration.seconds(30)

    private func at(_ seconds: Double) -> BootInstant { self.start + .seconds(seconds) }

    private func claim(_ attempt: UInt64) throws -> LockClaim {
        var generator = SystemRandomNumberGenerator()
        return LockClaim(
            attempt: AttemptID(rawValue: attempt), name: try LockName("a"),
            owner: LockOwner(
                secret: LockOwner.Secret(using: &generator), metadata: OwnerMetadata(host: "h", pid: 1)),
            lease: self.lease)
    }

    private func machine(confirmsGrants: Bool = false) -> MasterMachine {
        var machine = MasterMachine(confirmsGrants: confirmsGrants, now: self.start)
        #expect(machine.connected(self.one, isFound: false, now: self.start) == [.renewAll, .lookAtSettings(self.one)])
        return machine
    }

    /// One whose claim waits.
    private func waiting(_ claim: LockClaim, confirmsGrants: Bool = false) -> MasterMachine {
        var machine = self.machine(confirmsGrants: confirmsGrants)
        machine.requested(claim)
        // The timer loop has nothing to wait for so far.
        #expect(
            machine.acquireQueued(
                claim.attempt, self.place(), sentAt: self.at(0), connection: self.one, now: self.at(0)) == [.wake])
        return machine
    }

    private func granted(_ claim: LockClaim) throws -> PushedMessage {
        .granted(claim.owner.secret, try #require(FencingToken(rawValue: 7)))
    }

    private var refusal: LockError { LockError(.unreachable, "OOM") }
    private var warning: MasterMachine.Effect { .warnOfRefusal(MasterMachine.Reason(error: self.refusal)) }

    private func place(_ remaining: ClaimReply.Remaining = .notLookedUp) -> ClaimReply.QueueReply {
        ClaimReply.QueueReply(place: 0, remaining: remaining, holder: "")
    }

    @Test func `a grant is valid from before it was asked for, and nothing is timed for it here`() throws {
        var machine = self.machine()
        let claim = try self.claim(1)
        machine.requested(claim)
        #expect(machine.claim(claim.attempt) != nil)
        #expect(
            machine.acquireGranted(claim, sentAt: self.at(1))
                == LockValidity.deadline(lease: self.lease, sentAt: self.at(1)))
        #expect(machine.waitingCount == 0)
        #expect(machine.slept() == nil)
        machine.ended(claim.attempt)
        #expect(machine.count == 0)
    }

    @Test func `a pushed grant is told, and where replicas confirm grants the claim is asked for first`() throws {
        let claim = try self.claim(1)
        let token = try #require(FencingToken(rawValue: 7))
        let validUntil = LockValidity.deadline(lease: self.lease, sentAt: self.at(0))
        var machine = self.waiting(claim)
        #expect(
            machine.pushed(try self.granted(claim), connection: self.one, now: self.at(1))
                == [.grant(claim.attempt, token, validUntil: validUntil)])

        var confirming = self.waiting(claim, confirmsGrants: true)
        #expect(
            confirming.pushed(try self.granted(claim), connection: self.one, now: self.at(1)) == [.touch(claim.attempt)]
        )
        let effects = confirming.touchAnswered(
            claim.attempt, .granted(token), sentAt: self.at(1), connection: self.one, now: self.at(2))
        let later = LockValidity.deadline(lease: self.lease, sentAt: self.at(1))
        #expect(effects == [.confirm(claim.attempt, token, validUntil: later, self.one)])
    }

    @Test func `a connection has those who wait asked for, and what is held renewed`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        machine.disconnected()
        #expect(
            machine.connected(self.two, isFound: false, now: self.at(1))
                == [.touch(claim.attempt), .renewAll, .lookAtSettings(self.two)])
    }

    @Test func `a server that refuses is told of once, and is the trouble until it serves`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        #expect(machine.trouble == nil)
        #expect(machine.refused(self.refusal) == [self.warning])
        #expect(machine.refused(self.refusal) == [])
        #expect(machine.trouble?.message == "OOM")
        #expect(machine.timerFired(now: self.at(3)) == [.touch(claim.attempt)])
        #expect(
            machine.touchFailed(claim.attempt, .passingRefusal, self.refusal, now: self.at(3)).list.contains(
                self.warning)
                == false)
        let place = ClaimReply.QueueReply(place: 0, remaining: .notLookedUp, holder: "")
        _ = machine.touchAnswered(
            claim.attempt, .queued(place), sentAt: self.at(3), connection: self.one, now: self.at(4))
        #expect(machine.trouble == nil)
        // The next time it is news again.
        #expect(machine.refused(self.refusal) == [self.warning])
    }

    @Test func `a touch that is refused is news, and a grant or a place ends the trouble`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        _ = machine.slept()
        _ = machine.timerFired(now: self.at(3))
        #expect(
            machine.touchFailed(claim.attempt, .passingRefusal, self.refusal, now: self.at(3)).list.contains(
                self.warning))
        #expect(machine.trouble != nil)
        let other = try self.claim(2)
        machine.requested(other)
        // Somebody else's lock is busy: that says nothing of what was refused.
        machine.ended(other.attempt)
        #expect(machine.claim(other.attempt) == nil)
        #expect(machine.trouble != nil)
        machine.requested(other)
        _ = machine.acquireGranted(other, sentAt: self.at(5))
        #expect(machine.trouble == nil)
        #expect(machine.refused(self.refusal) == [self.warning])
    }

    @Test func `what is heard of a claim is told: that its place is gone, that its lock was broken`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        _ = machine.timerFired(now: self.at(3))
        let gone = machine.touchAnswered(
            claim.attempt, .gone, sentAt: self.at(3), connection: self.one, now: self.at(3))
        #expect(gone == [.gone(claim.attempt)])
        #expect(machine.count == 0)
        let held = try self.claim(2)
        machine.requested(held)
        _ = machine.acquireGranted(held, sentAt: self.at(5))
        #expect(
            machine.pushed(.broken(held.owner.secret), connection: self.one, now: self.at(6)) == [.lost(held.attempt)])
    }

    @Test func `a push that was faster than the answer is told with that`() throws {
        var machine = self.machine()
        let claim = try self.claim(1)
        machine.requested(claim)
        #expect(machine.pushed(try self.granted(claim), connection: self.one, now: self.at(1)) == [])
        let effects = machine.acquireQueued(
            claim.attempt, self.place(), sentAt: self.at(0), connection: self.one, now: self.at(1))
        let token = try #require(FencingToken(rawValue: 7))
        let validUntil = LockValidity.deadline(lease: self.lease, sentAt: self.at(0))
        #expect(effects == [.grant(claim.attempt, token, validUntil: validUntil)])
    }

    @Test func `a push that comes much later has the server asked`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        #expect(
            machine.pushed(try self.granted(claim), connection: self.one, now: self.at(20)) == [.touch(claim.attempt)])
    }

    @Test func `what a server refuses for good ends the claim, and is nobody else's trouble`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        var effects = MasterMachine.Effects()
        var now = 0.0
        let error = LockError(.serverRefused, "WRONGTYPE")
        let failure = MasterMachine.Effect.fail(claim.attempt, MasterMachine.Reason(error: error))
        while !effects.list.contains(failure), now < 60 {
            now += 2
            _ = machine.timerFired(now: self.at(now))
            effects = machine.touchFailed(claim.attempt, .lastingRefusal, error, now: self.at(now))
        }
        #expect(effects.list.contains(failure))
        #expect(machine.trouble == nil && machine.count == 0)
    }

    @Test func `no answer is trouble, too`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        _ = machine.timerFired(now: self.at(3))
        _ = machine.touchFailed(claim.attempt, .noAnswer, LockError(.outcomeUnknown, "silent"), now: self.at(3))
        #expect(machine.trouble?.code == .unreachable)
        #expect(machine.trouble?.message == "silent")
    }

    @Test func `releases leave in order only where the server is known to know their script`() {
        var machine = self.machine()
        #expect(!machine.canReleaseInOrder)
        machine.releaseAnswered(on: self.one)
        #expect(machine.canReleaseInOrder)
        machine.disconnected()
        #expect(!machine.canReleaseInOrder)
        _ = machine.connected(self.two, isFound: false, now: self.at(1))
        #expect(!machine.canReleaseInOrder)
        // An answer of the earlier connection says nothing of this one.
        machine.releaseAnswered(on: self.one)
        #expect(!machine.canReleaseInOrder)
    }

    @Test func `a clock that was stepped is told of, and another server has another clock`() {
        var machine = self.machine()
        #expect(machine.clockRead(1_000_000, sentAt: self.at(0), now: self.at(0)) == [])
        let effects = machine.clockRead(1_000_000 + 3_600_000, sentAt: self.at(1), now: self.at(1))
        guard case .warnOfClock(let step)? = effects.list.first else {
            Issue.record("\(effects)")
            return
        }
        #expect(abs(step / .seconds(1) - 3_599) < 1)
        machine.wasLeft()
        _ = machine.connected(self.two, isFound: false, now: self.at(2))
        #expect(machine.clockRead(5, sentAt: self.at(2), now: self.at(2)) == [])
        // The next connection is to the same one, as nobody has left it.
        _ = machine.connected(self.one, isFound: false, now: self.at(3))
        #expect(machine.clockRead(9_000_000, sentAt: self.at(3), now: self.at(3)) != [])
    }

    @Test func `the timer loop is woken when it sleeps for too long, and once`() throws {
        let (first, second) = (try self.claim(1), try self.claim(2))
        var machine = self.waiting(first)
        let slept = machine.slept()
        let until = try #require(slept)
        #expect(until > self.at(1))
        func queued(_ claim: LockClaim, looksIn milliseconds: Int64) -> MasterMachine.Effects {
            machine.requested(claim)
            return machine.acquireQueued(
                claim.attempt, self.place(.milliseconds(milliseconds)), sentAt: self.at(0), connection: self.one,
                now: self.at(0))
        }
        #expect(queued(second, looksIn: 10) == [.wake])
        #expect(queued(second, looksIn: 10) == [])
        // One that is to look still sooner wakes it again.
        #expect(queued(try self.claim(3), looksIn: 1) == [.wake])
        let sooner = machine.slept()
        #expect(try #require(sooner) < until)
    }

    @Test func `who waits on is told who holds the lock, by what a touch is answered`() throws {
        let claim = try self.claim(1)
        var machine = self.waiting(claim)
        for holder in ["a", "b"] {
            _ = machine.timerFired(now: self.at(3))
            let place = ClaimReply.QueueReply(place: 0, remaining: .notLookedUp, holder: holder)
            let effects = machine.touchAnswered(
                claim.attempt, .queued(place), sentAt: self.at(3), connection: self.one, now: self.at(3))
            var told: [MasterMachine.Effect] = []
            effects.forEach { if case .held = $0 { told.append($0) } }
            #expect(told == [.held(claim.attempt, by: holder)])
        }
    }

    @Test func `a loop that sleeps without end is woken by whatever has to be looked at again`() throws {
        let claim = try self.claim(1)
        for isRefused in [true, false] {
            var machine = self.waiting(claim)
            #expect(machine.timerFired(now: self.at(3)) == [.touch(claim.attempt)])
            // The touch is out: nothing is timed.
            #expect(machine.slept() == nil)
            let effects =
                isRefused
                ? machine.touchFailed(claim.attempt, .noAnswer, self.refusal, now: self.at(4))
                : machine.touchAnswered(
                    claim.attempt, .queued(self.place()), sentAt: self.at(3), connection: self.one, now: self.at(4))
            #expect(effects == [.wake])
        }
    }

    @Test func `a place that is looked up with each connection may have another clock each time`() {
        var machine = MasterMachine(confirmsGrants: false, now: self.start)
        _ = machine.connected(self.one, isFound: true, now: self.at(0))
        _ = machine.clockRead(1_000_000, sentAt: self.at(0), now: self.at(0))
        _ = machine.connected(self.two, isFound: true, now: self.at(1))
        #expect(machine.clockRead(5, sentAt: self.at(1), now: self.at(1)) == [])
    }
}

extension MasterMachine.Effects {
    /// All of them, for a test that looks for one.
    fileprivate var list: [MasterMachine.Effect] {
        var list: [MasterMachine.Effect] = []
        self.forEach { list.append($0) }
        return list
    }
}
