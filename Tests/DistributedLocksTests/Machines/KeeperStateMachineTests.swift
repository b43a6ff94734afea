import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct KeeperStateMachineTests {
    private func keeper(
        holding claims: LockClaim...,
        validFor: Duration = .seconds(29),
        holdFor: Duration? = nil
    ) -> KeeperStateMachine {
        var keeper = KeeperStateMachine(leaseScope: .grant)
        for claim in claims {
            keeper.held(claim, validUntil: start + validFor, holdUntil: holdFor.map { start + $0 }, now: start)
        }
        return keeper
    }

    @Test func `nothing held needs no timer`() {
        var keeper = KeeperStateMachine(leaseScope: .grant)
        #expect(keeper.nextWakeup() == nil)
        let action = keeper.timerFired(now: start)
        #expect(action.renew.isEmpty && action.lost.isEmpty)
    }

    @Test func `a lease is renewed after a third of it`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        #expect(keeper.nextWakeup() == start + .seconds(10))
        #expect(keeper.timerFired(now: start + .seconds(9)).renew.isEmpty)
        let action = keeper.timerFired(now: start + .seconds(10))
        #expect(action.renew.map(\.claim.attempt) == [claim.attempt])
        #expect(action.renew.first?.latest == start + .seconds(29))
        #expect(keeper.nextWakeup() == start + .seconds(29))
    }

    @Test func `a renewal that is answered sets the next one a third of the lease later`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        _ = keeper.timerFired(now: start + .seconds(10))
        let until = keeper.renewed(claim.attempt, until: start + .seconds(39), now: start + .seconds(11))
        #expect(until == start + .seconds(39))
        #expect(keeper.nextWakeup() == start + .seconds(21))
    }

    @Test func `all renewals that are not out are due at once when the store may have forgotten what is held`() throws {
        let claims = try (1...3).map { try LockClaim.test(UInt64($0), name: "a\($0)") }
        var keeper = self.keeper(holding: claims[0], claims[1], claims[2], validFor: .seconds(29))
        #expect(keeper.timerFired(now: start + .seconds(1)).renew.isEmpty)
        keeper.renewalsWanted(now: start + .seconds(2))
        #expect(keeper.nextWakeup() == start + .seconds(2))
        let action = keeper.timerFired(now: start + .seconds(2))
        #expect(action.renew.map(\.claim.attempt).sorted() == claims.map(\.attempt))
        // They are out: nothing more is asked, and the validity stays what it was.
        keeper.renewalsWanted(now: start + .seconds(3))
        #expect(keeper.nextWakeup() == start + .seconds(29))
        // Where leases belong to the session there is nothing to ask.
        var session = KeeperStateMachine(leaseScope: .session)
        session.held(claims[0], validUntil: start + .seconds(29), holdUntil: nil, now: start)
        session.renewalsWanted(now: start + .seconds(2))
        #expect(session.nextWakeup() == start + .seconds(29))
    }

    @Test func `a renewal that failed is repeated after a twelfth of the lease`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        _ = keeper.timerFired(now: start + .seconds(10))
        keeper.renewalFailed(claim.attempt, now: start + .seconds(11))
        #expect(keeper.nextWakeup() == start + .seconds(11) + .milliseconds(2_500))
    }

    @Test func `a grant is lost at its validity deadline without any reply`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        _ = keeper.timerFired(now: start + .seconds(10))
        let action = keeper.timerFired(now: start + .seconds(29))
        #expect(action.lost.map(\.attempt) == [claim.attempt])
        #expect(action.lost.map(\.reason) == [.leaseExpired])
        #expect(keeper.count == 0 && keeper.nextWakeup() == nil)
    }

    @Test func `a reply after the validity deadline is too late, even if the timer has not fired`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        _ = keeper.timerFired(now: start + .seconds(10))
        #expect(keeper.renewed(claim.attempt, until: start + .seconds(59), now: start + .seconds(29)) == nil)
        #expect(keeper.timerFired(now: start + .seconds(29)).lost.map(\.reason) == [.leaseExpired])
    }

    @Test func `validity never shrinks`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim)
        #expect(
            keeper.renewed(claim.attempt, until: start + .seconds(5), now: start + .seconds(1)) == start + .seconds(29)
        )
        #expect(
            keeper.extended(claim.attempt, until: start + .seconds(5), now: start + .seconds(1)) == start + .seconds(29)
        )
    }

    @Test func `a grant is lost when it was held as long as allowed, although its lease is renewed`() throws {
        let claim = try LockClaim.test()
        var keeper = self.keeper(holding: claim, holdFor: .seconds(12))
        _ = keeper.timerFired(now: start + .seconds(10))
        _ = keeper.renewed(claim.attempt, until: start + .seconds(39), now: start + .seconds(10))
        #expect(keeper.nextWakeup() == start + .seconds(12))
        #expect(keeper.timerFired(now: start + .seconds(12)).lost.map(\.reason) == [.holdLimitReached])
    }

    @Test func `renewals that are due soon leave together`() throws {
        var keeper = KeeperStateMachine(leaseScope: .grant)
        for index in 0..<10 {
            let now = start + .milliseconds(200 * index)
            keeper.held(try .test(UInt64(index)), validUntil: now + .seconds(29), holdUntil: nil, now: now)
        }
        // A twentieth of 30 s is 1.5 s: the first eight.
        let batch = keeper.timerFired(now: start + .seconds(10)).renew
        #expect(batch.map(\.claim.attempt.rawValue).sorted() == Array(0...7))
        #expect(keeper.nextWakeup() == start + .milliseconds(11_600))
    }

    @Test func `leases of a session are never renewed here`() throws {
        let claim = try LockClaim.test()
        var keeper = KeeperStateMachine(leaseScope: .session)
        keeper.held(claim, validUntil: start + .seconds(29), holdUntil: nil, now: start)
        #expect(keeper.nextWakeup() == start + .seconds(29))
        _ = keeper.extended(claim.attempt, until: start + .seconds(40), now: start + .seconds(20))
        let action = keeper.timerFired(now: start + .seconds(29))
        #expect(action.renew.isEmpty && action.lost.isEmpty)
        #expect(keeper.nextWakeup() == start + .seconds(40))
    }

    private enum Event: CaseIterable { case wait, wake, renewed, failed, extended, removed }

    /// All events in all orders up to a length, for one grant with a limit to its holding.
    @Test func `in any order of events a grant is renewed one at a time, and lost once and in time`() throws {
        struct World {
            var keeper: KeeperStateMachine
            var now = start
            var validUntil: BootInstant
            var isRenewing = false
            var isHeld = true
            var history: [Event] = []
        }
        let claim = try LockClaim.test()
        let holdUntil = start + .seconds(65)
        let attempt = claim.attempt
        var count = 0
        func explore(_ world: World, depth: Int) {
            count += 1
            guard depth > 0 else { return }
            for event in Event.allCases {
                var next = world
                next.history.append(event)
                func fire() {
                    let action = next.keeper.timerFired(now: next.now)
                    #expect(action.renew.count + action.lost.count <= 1, "\(next.history)")
                    if !action.renew.isEmpty {
                        #expect(next.isHeld && !next.isRenewing, "\(next.history)")
                        #expect(action.renew[0].latest == next.validUntil)
                        next.isRenewing = true
                    }
                    let isDue = next.now >= next.validUntil || next.now >= holdUntil
                    #expect(action.lost.isEmpty == !(next.isHeld && isDue), "\(next.history)")
                    if !action.lost.isEmpty { next.isHeld = false }
                }
                switch event {
                case .wait:
                    next.now += .seconds(7)
                    fire()
                case .wake:
                    guard let wakeup = next.keeper.nextWakeup() else { continue }
                    next.now = max(next.now, wakeup)
                    fire()
                case .renewed:
                    guard next.isRenewing else { continue }
                    next.isRenewing = false
                    let until = next.now + .seconds(29)
                    let answer = next.keeper.renewed(attempt, until: until, now: next.now)
                    #expect((answer != nil) == next.isHeld, "\(next.history)")
                    if let answer { next.validUntil = answer }
                case .failed:
                    guard next.isRenewing else { continue }
                    next.isRenewing = false
                    next.keeper.renewalFailed(attempt, now: next.now)
                case .extended:
                    let until = next.now + .seconds(15)
                    if let answer = next.keeper.extended(attempt, until: until, now: next.now) {
                        #expect(next.isHeld && answer == max(until, next.validUntil), "\(next.history)")
                        next.validUntil = answer
                    }
                case .removed:
                    next.keeper.removed(attempt)
                    next.isHeld = false
                }
                let wakeup = next.keeper.nextWakeup()
                if next.isHeld {
                    #expect(wakeup.map { $0 <= min(next.validUntil, holdUntil) } == true, "\(next.history)")
                } else {
                    #expect(wakeup == nil && next.keeper.count == 0, "\(next.history)")
                }
                explore(next, depth: depth - 1)
            }
        }
        let keeper = self.keeper(holding: claim, holdFor: .seconds(65))
        explore(World(keeper: keeper, validUntil: start + .seconds(29)), depth: 7)
        #expect(count > 10_000)
    }
}
