import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct CleanupStateMachineTests {
    private let until = start + .seconds(60)

    @Test func `a claim is withdrawn at once, and forgotten when that is confirmed`() throws {
        let claim = try LockClaim.test()
        var cleanup = CleanupStateMachine()
        #expect(cleanup.added(claim, until: self.until, start: start) == true)
        #expect(cleanup.nextWakeup() == start)
        #expect(cleanup.timerFired(now: start).withdraw.map(\.attempt) == [claim.attempt])
        #expect(cleanup.timerFired(now: start + .seconds(1)).withdraw.isEmpty)
        #expect(!cleanup.isEmpty)
        cleanup.confirmed(claim.attempt)
        #expect(cleanup.isEmpty && cleanup.nextWakeup() == nil)
    }

    @Test func `a claim is not taken twice`() throws {
        let claim = try LockClaim.test()
        var cleanup = CleanupStateMachine()
        #expect(cleanup.added(claim, until: self.until, start: start) == true)
        #expect(cleanup.added(claim, until: self.until, start: start) == true)
        #expect(cleanup.count == 1)
        #expect(cleanup.timerFired(now: start).withdraw.count == 1)
    }

    @Test func `a withdrawal that failed is repeated, ever less often, until the lease has passed`() throws {
        let claim = try LockClaim.test()
        var cleanup = CleanupStateMachine()
        _ = cleanup.added(claim, until: self.until, start: start)
        var now = start
        var pauses: [Duration] = []
        while true {
            let action = cleanup.timerFired(now: now)
            guard action.abandoned.isEmpty else {
                #expect(action.abandoned.map(\.attempt) == [claim.attempt])
                break
            }
            #expect(action.withdraw.map(\.attempt) == [claim.attempt])
            cleanup.failed(claim.attempt, now: now, jitter: 1)
            let wakeup = cleanup.nextWakeup()
            let next = try #require(wakeup)
            pauses.append(next - now)
            now = next
        }
        #expect(now == self.until)
        #expect(cleanup.isEmpty)
        #expect(pauses.first == .milliseconds(41))
        #expect(pauses.max() == .milliseconds(2_001))
        #expect(Array(pauses.dropLast()) == pauses.dropLast().sorted())
    }

    @Test func `a claim whose lease has passed is tried once all the same`() throws {
        let claim = try LockClaim.test()
        var cleanup = CleanupStateMachine()
        _ = cleanup.added(claim, until: start, start: start)
        #expect(cleanup.timerFired(now: start + .seconds(1)).withdraw.count == 1)
        cleanup.failed(claim.attempt, now: start + .seconds(1), jitter: 0)
        #expect(cleanup.timerFired(now: start + .seconds(1)).abandoned.count == 1)
    }

    @Test func `there is a bound`() throws {
        var cleanup = CleanupStateMachine()
        for attempt in 0..<CleanupStateMachine.maximumCount {
            let isTaken = cleanup.added(try .test(UInt64(attempt)), until: self.until, start: start)
            if !isTaken { Issue.record("refused number \(attempt)") }
        }
        #expect(cleanup.added(try .test(.max), until: self.until, start: start) == false)
        cleanup.confirmed(AttemptID(rawValue: 0))
        #expect(cleanup.added(try .test(.max), until: self.until, start: start) == true)
    }

    @Test func `an answer for a claim that is not known changes nothing`() {
        var cleanup = CleanupStateMachine()
        cleanup.failed(AttemptID(rawValue: 1), now: start, jitter: 1)
        cleanup.confirmed(AttemptID(rawValue: 1))
        #expect(cleanup.isEmpty && cleanup.nextWakeup() == nil)
    }
}
