import TestKit
import Testing

@testable import DistributedLocks
@testable import LockTesting

@Suite struct InMemoryLockStoreTests {
    private typealias Machine = InMemoryLockStoreStateMachine

    private let one = Machine.ConnectionID(rawValue: 1)
    private let two = Machine.ConnectionID(rawValue: 2)

    private func machine(waiters: Int = 10) -> Machine {
        Machine(tokenDomain: .clock, maximumWaitersPerLock: waiters)
    }

    private func request(_ claim: LockClaim, waits: Bool = true) -> AcquireRequest {
        AcquireRequest(claim: claim, joinsQueue: waits, deadline: nil)
    }

    private func granted(_ deliveries: [Machine.Delivery]) -> [UInt64] {
        deliveries.compactMap { if case .granted(let attempt, _) = $0.event { attempt.rawValue } else { nil } }
    }

    @Test func `the same owner gets the same grant, its lease set anew`() throws {
        var machine = self.machine()
        let claim = try LockClaim.test(1, lease: .seconds(10))
        for second in 0..<5 {
            let now = startInstant + .seconds(5 * second)
            guard case .granted(let token) = machine.requested(self.request(claim), from: self.one, at: now).reply
            else {
                Issue.record("not granted")
                return
            }
            #expect(token.rawValue == 1)
            #expect(machine.locks[claim.name]?.holder.leaseEnd == now + .seconds(10))
        }
    }

    @Test func `waiters are served in order, and each once`() throws {
        var machine = self.machine()
        let claims = try (1...4).map { try LockClaim.test($0) }
        for claim in claims { _ = machine.requested(self.request(claim), from: self.one, at: startInstant) }
        guard
            case .queued(let place) = machine.requested(self.request(claims[3]), from: self.one, at: startInstant).reply
        else {
            Issue.record("not queued")
            return
        }
        #expect(place.waitersAhead == 2)
        _ = machine.withdrawn(claims[2], from: self.one, at: startInstant)
        #expect(self.granted(machine.released(claims[0], at: startInstant).deliveries) == [2])
        #expect(self.granted(machine.released(claims[1], at: startInstant).deliveries) == [4])
        #expect(self.granted(machine.released(claims[3], at: startInstant).deliveries) == [])
        #expect(machine.isEmpty)
    }

    @Test func `only the owner renews and releases`() throws {
        var machine = self.machine()
        let (holder, other) = (try LockClaim.test(1), try LockClaim.test(2))
        _ = machine.requested(self.request(holder), from: self.one, at: startInstant)
        guard case .notHeld = machine.released(other, at: startInstant).reply,
            case .lost(.notOwner) = machine.renewed(other, at: startInstant).reply
        else {
            Issue.record("a stranger was let in")
            return
        }
        _ = machine.withdrawn(other, from: self.two, at: startInstant)
        #expect(!machine.isEmpty)
    }

    @Test func `a lease that has ended is not renewed, and the next waiter holds`() throws {
        var machine = self.machine()
        let (dead, next) = (try LockClaim.test(1, lease: .seconds(10)), try LockClaim.test(2))
        _ = machine.requested(self.request(dead), from: self.one, at: startInstant)
        _ = machine.requested(self.request(next), from: self.two, at: startInstant)
        #expect(machine.nextEvent == startInstant + .seconds(10))
        #expect(machine.timePassed(to: startInstant + .seconds(9)).isEmpty)
        let (reply, deliveries) = machine.renewed(dead, at: startInstant + .seconds(10))
        guard case .lost(.notOwner) = reply else {
            Issue.record("renewed after its end")
            return
        }
        #expect(self.granted(deliveries) == [2])
        guard case .granted(_, let grant) = deliveries.first?.event else { return }
        #expect(grant.validUntil == LockValidity.deadline(lease: .seconds(30), sentAt: startInstant + .seconds(10)))
    }

    @Test func `a stranger cannot be told that its lock is broken, and at once it is taken away`() throws {
        var machine = self.machine()
        let name = try LockName("a")
        _ = machine.stolen(name, lease: .seconds(60), at: startInstant)
        guard
            case .cannotBeTold(remainingLease: .seconds(50)) = machine.broken(
                name, immediately: false, at: startInstant + .seconds(10)
            ).reply
        else {
            Issue.record("it was told")
            return
        }
        #expect(machine.status(of: name, at: startInstant).holder?.isBroken == false)
        guard case .broken(nil) = machine.broken(name, immediately: true, at: startInstant + .seconds(10)).reply else {
            Issue.record("it was not taken away")
            return
        }
        #expect(machine.isEmpty)
    }

    @Test func `a broken lock is not renewed, and is handed over at its release or its end`() throws {
        for releases in [true, false] {
            var machine = self.machine()
            let (holder, next) = (try LockClaim.test(1, lease: .seconds(10)), try LockClaim.test(2))
            _ = machine.requested(self.request(holder), from: self.one, at: startInstant)
            _ = machine.requested(self.request(next), from: self.two, at: startInstant)
            let (_, told) = machine.broken(holder.name, immediately: false, at: startInstant)
            guard told.count == 1, case .lost(_, .broken) = told[0].event,
                case .lost(.broken) = machine.renewed(holder, at: startInstant).reply
            else {
                Issue.record("not broken")
                return
            }
            #expect(machine.broken(holder.name, immediately: false, at: startInstant).deliveries.isEmpty)
            let deliveries =
                releases
                ? machine.released(holder, at: startInstant).deliveries
                : machine.timePassed(to: startInstant + .seconds(10))
            #expect(self.granted(deliveries) == [2])
        }
    }

    @Test func `who asks again after its grant was broken stands behind the others`() throws {
        var machine = self.machine()
        let (holder, next) = (try LockClaim.test(1), try LockClaim.test(2))
        _ = machine.requested(self.request(holder), from: self.one, at: startInstant)
        _ = machine.requested(self.request(next), from: self.two, at: startInstant)
        _ = machine.broken(holder.name, immediately: false, at: startInstant)
        let (reply, deliveries) = machine.requested(self.request(holder), from: self.one, at: startInstant)
        guard case .queued = reply else {
            Issue.record("granted in spite of the revocation")
            return
        }
        #expect(self.granted(deliveries) == [2])
    }

    @Test func `the queue has a bound`() throws {
        var machine = self.machine(waiters: 1)
        for attempt in 1...2 {
            _ = machine.requested(self.request(try .test(UInt64(attempt))), from: self.one, at: startInstant)
        }
        guard case .queueFull = machine.requested(self.request(try .test(3)), from: self.one, at: startInstant).reply
        else {
            Issue.record("no bound")
            return
        }
    }

    /// Random operations of three clients: at most one owner at a time, rising tokens, every waiter told once.
    @Test(arguments: 0..<20)
    func `tokens rise and everybody is told, for any operations`(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var machine = self.machine()
        var now = startInstant
        var lastToken: Int64 = 0
        var claims: [UInt64: LockClaim] = [:]
        var waiting: Set<UInt64> = []
        var attempts: UInt64 = 0
        func take(_ deliveries: [Machine.Delivery]) {
            for delivery in deliveries {
                machine.delivered(delivery.event, to: delivery.connection)
                guard case .granted(let attempt, let grant) = delivery.event else { continue }
                #expect(waiting.remove(attempt.rawValue) != nil)
                #expect(grant.token.rawValue > lastToken)
                lastToken = grant.token.rawValue
            }
        }
        for _ in 0..<2_000 {
            let some = claims.randomElement(using: &generator)?.value
            switch Int.random(in: 0..<7, using: &generator) {
            case 0, 1:
                attempts += 1
                let claim = try LockClaim.test(attempts, lease: .seconds(Int.random(in: 1...9, using: &generator)))
                claims[attempts] = claim
                let (reply, deliveries) = machine.requested(self.request(claim), from: self.one, at: now)
                take(deliveries)
                switch reply {
                case .granted(let token):
                    #expect(token.rawValue > lastToken)
                    lastToken = token.rawValue
                case .queued: waiting.insert(attempts)
                case .queueFull: claims[attempts] = nil
                case .busy: Issue.record("busy for one who waits")
                }
            case 2:
                guard let some else { continue }
                claims[some.attempt.rawValue] = nil
                waiting.remove(some.attempt.rawValue)
                take(machine.withdrawn(some, from: self.one, at: now))
            case 3:
                guard let some else { continue }
                take(machine.released(some, at: now).deliveries)
            case 4:
                guard let some else { continue }
                take(machine.renewed(some, at: now).deliveries)
            case 5:
                let immediately = Bool.random(using: &generator)
                take(machine.broken(try LockName("a"), immediately: immediately, at: now).deliveries)
            default:
                now += .seconds(Int.random(in: 0...4, using: &generator))
                take(machine.timePassed(to: now))
            }
            let name = try LockName("a")
            #expect(Set(machine.locks[name]?.waiters.map(\.claim.attempt.rawValue) ?? []) == waiting)
            #expect(machine.touched(self.one).isEmpty)
        }
    }
}
