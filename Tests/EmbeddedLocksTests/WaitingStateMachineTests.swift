import DistributedLocks
import LockKernel
import Testing

@testable import EmbeddedLocks

@Suite struct WaitingStateMachineTests {
    private static let own = ParticipantID(rawValue: 1)
    private static let other = ParticipantID(rawValue: 2)
    private static let third = ParticipantID(rawValue: 3)
    private let now = BootInstant.now

    private static func claim(_ attempt: UInt64, of name: String = "a") throws -> LockClaim {
        var generator = SystemRandomNumberGenerator()
        return LockClaim(
            attempt: AttemptID(rawValue: attempt),
            name: try LockName(name),
            owner: LockOwner(secret: LockOwner.Secret(using: &generator), metadata: .current()),
            lease: .seconds(10)
        )
    }

    private static func place(_ place: Int64, behind predecessor: ParticipantID?, holder: ParticipantID) -> StoredPlace
    {
        StoredPlace(
            place: place,
            predecessor: predecessor,
            holder: holder,
            holderMetadata: .current(),
            holderLeaseEnd: EmbeddedEnvironment.system.bootTime + .seconds(5)
        )
    }

    @Test func `a first waiter watches the holder and looks when its lease has ended`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        #expect(machine.requested(claim) == false)
        let leaseEnd = now + .seconds(5)
        let action = machine.placed(
            claim.attempt, Self.place(1, behind: nil, holder: Self.other), leaseEnd: leaseEnd, now: now)
        #expect(action.watch == Self.other && action.unwatch == nil && action.look == nil)
        #expect(machine.nextWakeup() == leaseEnd + WaitingStateMachine.headSlack)
        #expect(machine.timerFired(now: now + .seconds(4)).isEmpty)
        let looks = machine.timerFired(now: now + .seconds(6))
        #expect(looks.map(\.claim.attempt) == [claim.attempt] && looks.map(\.place) == [1])
    }

    @Test func `a waiter behind this client's own watches nobody, and looks after a long while`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        _ = machine.requested(claim)
        let action = machine.placed(
            claim.attempt, Self.place(2, behind: Self.own, holder: Self.other), leaseEnd: now + .seconds(5), now: now)
        #expect(action.watch == nil)
        #expect(machine.nextWakeup() == now + WaitingStateMachine.ownBackstop)
        #expect(machine.timerFired(now: now + .seconds(31)).map(\.claim.attempt) == [claim.attempt])
        // Not before the lease of the holder has ended.
        _ = machine.placed(
            claim.attempt, Self.place(2, behind: Self.own, holder: Self.other), leaseEnd: now + .seconds(50), now: now)
        #expect(machine.nextWakeup() == now + .seconds(50) + WaitingStateMachine.backstopSlack)
    }

    @Test func `when one claim has lost its place all others that wait for the same lock look`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claims = try (1...4).map { try Self.claim($0) }
        for claim in claims {
            _ = machine.requested(claim)
            let ahead = claim.attempt.rawValue == 1 ? nil : Self.own
            _ = machine.placed(
                claim.attempt, Self.place(Int64(claim.attempt.rawValue), behind: ahead, holder: Self.other),
                leaseEnd: now + .seconds(5), now: now)
        }
        // One of them is being looked for already.
        #expect(machine.noticed(claims[2].attempt) != nil)
        #expect(machine.noticed(claims[0].attempt) != nil)
        let (unwatch, looks) = machine.foundGone(claims[0])
        #expect(unwatch == Self.other)
        #expect(looks.map(\.claim.attempt) == [claims[1].attempt, claims[3].attempt])
        // They are all being looked for now, and each is looked for once.
        #expect(machine.foundGone(claims[1]).looks.isEmpty)
        #expect(machine.foundGone(claims[2]).looks.isEmpty)
        #expect(machine.foundGone(claims[3]).looks.isEmpty)
        #expect(machine.count == 0 && machine.nextWakeup() == nil)
        #expect(machine.foundGone(claims[3]).looks.isEmpty)
    }

    @Test(arguments: [true, false])
    func `whose request or look is being done when another has lost its place looks once more`(isLook: Bool) throws {
        var machine = WaitingStateMachine(own: Self.own)
        let (gone, other) = (try Self.claim(1), try Self.claim(2))
        let behind = Self.place(2, behind: Self.own, holder: Self.other)
        _ = machine.requested(gone)
        _ = machine.placed(
            gone.attempt, Self.place(1, behind: nil, holder: Self.other), leaseEnd: now + .seconds(5), now: now)
        _ = machine.requested(other)
        if isLook {
            _ = machine.placed(other.attempt, behind, leaseEnd: now + .seconds(5), now: now)
            #expect(machine.noticed(other.attempt) != nil)
        }
        // What it has read of the file may be from before.
        #expect(machine.foundGone(gone).looks.isEmpty)
        let late = machine.placed(other.attempt, behind, leaseEnd: now + .seconds(5), now: now)
        #expect(late.look?.claim.attempt == other.attempt)
        let last = machine.placed(other.attempt, behind, leaseEnd: now + .seconds(5), now: now)
        #expect(last.look == nil)
    }

    @Test func `a lost place concerns those alone that wait for the same lock`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let (gone, other) = (try Self.claim(1), try Self.claim(2, of: "b"))
        for claim in [gone, other] {
            _ = machine.requested(claim)
            _ = machine.placed(
                claim.attempt, Self.place(1, behind: nil, holder: Self.other), leaseEnd: now + .seconds(5), now: now)
        }
        let (unwatch, looks) = machine.foundGone(gone)
        #expect(unwatch == nil && looks.isEmpty)
    }

    @Test func `when a claim has lost what it held those look that wait for the same lock`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let (holder, behind, other) = (try Self.claim(1), try Self.claim(2), try Self.claim(3, of: "b"))
        _ = machine.requested(holder)
        #expect(machine.ended(holder.attempt) == nil)
        for claim in [behind, other] {
            _ = machine.requested(claim)
            _ = machine.placed(
                claim.attempt, Self.place(1, behind: nil, holder: Self.own), leaseEnd: now + .seconds(5), now: now)
        }
        #expect(machine.foundGone(holder).looks.map(\.claim.attempt) == [behind.attempt])
    }

    @Test func `a notice during a request or a look is not lost`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        _ = machine.requested(claim)
        #expect(machine.noticed(claim.attempt) == nil)
        let place = Self.place(1, behind: nil, holder: Self.other)
        let first = machine.placed(claim.attempt, place, leaseEnd: now + .seconds(5), now: now)
        #expect(first.look?.place == 1)
        // The look is being done; another notice.
        #expect(machine.noticed(claim.attempt) == nil)
        let second = machine.placed(claim.attempt, place, leaseEnd: now + .seconds(5), now: now)
        #expect(second.look?.place == 1)
        let last = machine.placed(claim.attempt, place, leaseEnd: now + .seconds(5), now: now)
        #expect(last.look == nil)
        #expect(machine.noticed(claim.attempt) != nil)
    }

    @Test func `a watch is made once for many and ended with the last of them`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claims = try (1...3).map { try Self.claim($0) }
        var watches = 0
        for claim in claims {
            _ = machine.requested(claim)
            let place = Self.place(Int64(claim.attempt.rawValue), behind: Self.other, holder: Self.third)
            if machine.placed(claim.attempt, place, leaseEnd: now + .seconds(5), now: now).watch != nil { watches += 1 }
        }
        #expect(watches == 1)
        #expect(machine.ended(claims[0].attempt) == nil)
        #expect(machine.ended(claims[1].attempt) == nil)
        #expect(machine.ended(claims[2].attempt) == Self.other)
        #expect(machine.count == 0 && machine.watchedCount == 0 && machine.nextWakeup() == nil)
    }

    @Test func `the death of a client concerns those who waited for it, once`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        _ = machine.requested(claim)
        _ = machine.placed(
            claim.attempt, Self.place(1, behind: nil, holder: Self.other), leaseEnd: now + .seconds(5), now: now)
        #expect(machine.died(Self.third).isEmpty)
        #expect(machine.died(Self.other).map(\.attempt) == [claim.attempt])
        #expect(machine.died(Self.other).isEmpty)
        // After the look it may wait for another one.
        let action = machine.placed(
            claim.attempt, Self.place(1, behind: nil, holder: Self.third), leaseEnd: now + .seconds(9), now: now)
        #expect(action.watch == Self.third && action.unwatch == nil)
    }

    @Test func `a changed predecessor changes the watch`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        _ = machine.requested(claim)
        _ = machine.placed(
            claim.attempt, Self.place(2, behind: Self.other, holder: Self.third), leaseEnd: now + .seconds(5), now: now)
        let action = machine.placed(
            claim.attempt, Self.place(2, behind: nil, holder: Self.third), leaseEnd: now + .seconds(5), now: now)
        #expect(action.unwatch == Self.other && action.watch == Self.third)
    }

    @Test func `a claim asked for again is known`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        #expect(machine.requested(claim) == false)
        #expect(machine.requested(claim) == true)
        #expect(machine.ended(claim.attempt) == nil)
        #expect(machine.requested(claim) == false)
    }

    @Test func `a look that failed is done again`() throws {
        var machine = WaitingStateMachine(own: Self.own)
        let claim = try Self.claim(1)
        _ = machine.requested(claim)
        _ = machine.placed(
            claim.attempt, Self.place(1, behind: nil, holder: Self.other), leaseEnd: now + .seconds(5), now: now)
        #expect(machine.noticed(claim.attempt) != nil)
        machine.lookFailed(claim.attempt, now: now)
        #expect(machine.timerFired(now: now + .seconds(1)).count == 1)
    }
}
