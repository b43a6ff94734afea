import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

@Suite struct ReleaseOutboxTests {
    private let now = BootInstant.now

    @Test func `releases that are delayed leave together, and one timer sees to that`() {
        var outbox = ReleaseOutbox<String>()
        #expect(outbox.delay("a") == true)
        #expect(outbox.delay("b") == false)
        #expect(outbox.hasDelayed)
        #expect(outbox.takeDelayed() == ["a", "b"])
        #expect(!outbox.hasDelayed)
        #expect(outbox.takeDelayed() == [])
        #expect(outbox.delay("c") == true)
    }

    @Test func `it counts what is out, and is tried again at the earliest instant that was asked for`() {
        var outbox = ReleaseOutbox<String>()
        outbox.sent()
        outbox.sent()
        outbox.answered()
        #expect(outbox.outCount == 1)
        outbox.retry(at: self.now + .seconds(2))
        outbox.retry(at: self.now + .seconds(1))
        outbox.retry(at: self.now + .seconds(3))
        #expect(outbox.retryAt == self.now + .seconds(1))
        #expect(outbox.isRetryDue(at: self.now) == false)
        #expect(outbox.isRetryDue(at: self.now + .seconds(1)) == true)
        #expect(outbox.isRetryDue(at: self.now + .seconds(9)) == false)
    }

    @Test func `what is left on an instance is kept until its lease is over, and not more than so much`() {
        var leftovers = Leftovers<Int>()
        #expect(leftovers.keep(0, until: self.now, now: self.now) == false)
        for number in 1...3 {
            #expect(leftovers.keep(number, until: self.now + .seconds(number), now: self.now) == true)
        }
        #expect(leftovers.count(at: self.now) == 3)
        #expect(leftovers.count(at: self.now + .seconds(1)) == 2)
        #expect(!leftovers.isEmpty(at: self.now))
        #expect(leftovers.takeFirst(at: self.now + .seconds(1)) == 2)
        #expect(leftovers.takeAll(at: self.now + .seconds(2)) == [3])
        #expect(leftovers.isEmpty(at: self.now))
        #expect(leftovers.takeFirst(at: self.now) == nil)

        for number in 0..<Leftovers<Int>.maximumCount {
            #expect(leftovers.keep(number, until: self.now + .seconds(1), now: self.now) == true)
        }
        #expect(leftovers.keep(-1, until: self.now + .seconds(9), now: self.now) == false)
        // Those whose leases are over make room.
        #expect(leftovers.keep(-1, until: self.now + .seconds(9), now: self.now + .seconds(1)) == true)
        #expect(leftovers.count(at: self.now + .seconds(1)) == 1)
    }
}

@Suite struct ClaimTimersTests {
    private let now = BootInstant.now
    private let attempt = AttemptID(rawValue: 1)

    @Test func `a claim has three times, each told once`() {
        var timers = ClaimTimers()
        var times = ClaimTimers.Times()
        timers.wake(self.attempt, at: self.now + .seconds(3), &times)
        timers.wake(self.attempt, at: self.now + .seconds(1), &times)
        timers.answer(self.attempt, by: self.now + .seconds(2), &times)
        timers.end(self.attempt, at: self.now + .seconds(4), &times)
        #expect(timers.next() == self.now + .seconds(1))
        let due = timers.takeDue(at: self.now + .seconds(2))
        #expect(due.wakeups == [self.attempt] && due.patience == [self.attempt] && due.endings == [])
        #expect(times.wokeUp(now: self.now + .seconds(2)) == true)
        #expect(times.wokeUp(now: self.now + .seconds(2)) == false)
        #expect(times.patienceEnded(now: self.now + .seconds(2)) == true)
        #expect(timers.next() == self.now + .seconds(4))
        timers.forget(self.attempt, &times)
        #expect(timers.next() == nil)
        #expect(times.ended(now: self.now + .seconds(9)) == false)
    }

    @Test func `what is set is a change until the next instant is asked for, and what is taken away is none`() {
        var timers = ClaimTimers()
        var times = ClaimTimers.Times()
        #expect(!timers.isChanged)
        timers.askForTurn(self.attempt, at: self.now, &times)
        #expect(timers.isChanged)
        #expect(timers.next() == self.now)
        #expect(!timers.isChanged)
        timers.stopAskingForTurn(self.attempt, &times)
        #expect(!timers.isChanged)
    }

    @Test func `one that was set anew while others were dealt with is not due any more`() {
        var timers = ClaimTimers()
        var times = ClaimTimers.Times()
        timers.wake(self.attempt, at: self.now, &times)
        #expect(timers.takeDue(at: self.now).wakeups == [self.attempt])
        timers.wake(self.attempt, at: self.now + .seconds(1), &times)
        #expect(times.wokeUp(now: self.now) == false)
        timers.stopWaking(self.attempt, &times)
        #expect(times.wokeUp(now: self.now + .seconds(9)) == false)
        #expect(timers.next() == nil)
        timers.answer(self.attempt, by: self.now, &times)
        timers.answered(self.attempt, &times)
        #expect(timers.takeDue(at: self.now).patience == [])
    }
}
