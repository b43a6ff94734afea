import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct AcquireStateMachineTests {
    private let holder = OwnerMetadata(host: "web-3", pid: 4711, label: nil)
    private let place = QueuePlace(waitersAhead: 0, holders: [])
    private let unknown = LockError(.outcomeUnknown, "cut")

    private func queued(deadline: BootInstant? = nil) -> AcquireStateMachine {
        var machine = AcquireStateMachine(deadline: deadline)
        guard case .wait = machine.replyArrived(.queued(self.place)) else {
            Issue.record("not waiting")
            return machine
        }
        return machine
    }

    @Test func `a free lock is granted by the reply`() throws {
        var machine = AcquireStateMachine(deadline: nil)
        guard case .finish(.granted(let grant)) = machine.replyArrived(.granted(try .test(7))) else {
            Issue.record("not granted")
            return
        }
        #expect(grant.token.rawValue == 7)
        #expect(machine.isFinished)
    }

    @Test func `a held lock is busy, and says by whom`() {
        var machine = AcquireStateMachine(deadline: nil)
        guard
            case .finish(.failed(.error(let error), withdraw: false)) = machine.replyArrived(
                .busy(holders: [self.holder]))
        else {
            Issue.record("not busy")
            return
        }
        #expect(error.code == .busy)
        #expect(error.holder == self.holder)
    }

    @Test func `a push that overtakes the reply is the grant`() throws {
        var machine = AcquireStateMachine(deadline: nil)
        guard case .none = machine.granted(try .test(7)),
            case .finish(.granted(let grant)) = machine.replyArrived(.queued(self.place))
        else {
            Issue.record("not granted")
            return
        }
        #expect(grant.token.rawValue == 7)
    }

    @Test func `a push that arrives while the reply is lost is the grant`() throws {
        var machine = AcquireStateMachine(deadline: nil)
        guard case .none = machine.granted(try .test(7)),
            case .finish(.granted(let grant)) = machine.requestFailed(self.unknown, now: start, jitter: 0)
        else {
            Issue.record("not granted")
            return
        }
        #expect(grant.token.rawValue == 7)
    }

    @Test func `a grant that is told twice is not withdrawn`() throws {
        var machine = self.queued()
        guard case .finish(.granted) = machine.granted(try .test(7)), case .none = machine.granted(try .test(7)) else {
            Issue.record("withdrawn under its holder")
            return
        }
    }

    @Test func `a place that is gone before the reply starts anew`() {
        var machine = AcquireStateMachine(deadline: nil)
        guard case .none = machine.gone(), case .startAnew = machine.replyArrived(.queued(self.place)) else {
            Issue.record("not anew")
            return
        }
    }

    @Test func `a place that is gone while waiting starts anew`() {
        var machine = self.queued()
        guard case .startAnew = machine.gone() else {
            Issue.record("not anew")
            return
        }
    }

    @Test func `pauses grow, are never longer than 501 ms, and end after twenty retries`() {
        var machine = AcquireStateMachine(deadline: nil)
        var pauses: [Duration] = []
        loop: while true {
            switch machine.requestFailed(self.unknown, now: start, jitter: 1) {
            case .retry(let pause):
                pauses.append(pause)
                #expect(machine.retryStarted() == true)
            case .finish(.failed(.error(let error), withdraw: true)):
                #expect(error.code == .outcomeUnknown)
                break loop
            case .finish, .withdraw:
                Issue.record("unexpected end")
                break loop
            }
        }
        #expect(pauses.count == AcquireStateMachine.maximumRetries)
        #expect(pauses == pauses.sorted())
        #expect(pauses.first == .milliseconds(21))
        #expect(pauses.last == .milliseconds(501))
    }

    @Test func `no retry starts after the deadline`() {
        var machine = AcquireStateMachine(deadline: start + .milliseconds(5))
        guard case .finish(.failed(_, withdraw: true)) = machine.requestFailed(self.unknown, now: start, jitter: 1)
        else {
            Issue.record("retried too late")
            return
        }
    }

    @Test func `a deadline without any answer is unreachable, in the queue it is timedOut`() {
        var requesting = AcquireStateMachine(deadline: start)
        guard case .finish(.failed(.noAnswer, withdraw: true)) = requesting.deadlinePassed() else {
            Issue.record("not unreachable")
            return
        }
        var waiting = self.queued()
        guard case .finish(.failed(.timedOut(heldBy: []), withdraw: true)) = waiting.deadlinePassed() else {
            Issue.record("not timed out")
            return
        }
    }

    @Test func `a deadline in the pause after an error tells the error`() {
        let deadline = start + .seconds(1)
        var machine = AcquireStateMachine(deadline: deadline)
        let error = LockError(.outcomeUnknown, "the server closed the connection")
        guard case .retry = machine.requestFailed(error, now: start, jitter: 0.5) else {
            Issue.record("not retried")
            return
        }
        // The timer of the pause is late.
        guard case .finish(.failed(.error(let told), withdraw: true)) = machine.deadlinePassed() else {
            Issue.record("not told")
            return
        }
        #expect(told.code == .outcomeUnknown && told.message == error.message)
    }

    private func heldBy(_ machine: inout AcquireStateMachine) -> [OwnerMetadata]? {
        guard case .finish(.failed(.timedOut(let holders), withdraw: true)) = machine.deadlinePassed() else {
            return nil
        }
        return holders
    }

    @Test func `who waits in vain knows who held the lock, as was heard last`() {
        let next = OwnerMetadata(host: "web-4", pid: 7, label: "import")
        var machine = AcquireStateMachine(deadline: start)
        _ = machine.replyArrived(.queued(QueuePlace(waitersAhead: nil, holders: [self.holder])))
        #expect(machine.held(by: [self.holder]) == false, "no news")
        #expect(machine.held(by: [next]) == true)
        #expect(machine.held(by: [next]) == false)
        #expect(self.heldBy(&machine) == [next])
        #expect(machine.held(by: [self.holder]) == false, "nobody waits any more")
    }

    @Test func `who holds may be told before the reply that says to wait, and is newer than that`() {
        let next = OwnerMetadata(host: "web-4", pid: 7, label: "import")
        var machine = AcquireStateMachine(deadline: start)
        #expect(machine.held(by: [next]) == false)
        _ = machine.replyArrived(.queued(QueuePlace(waitersAhead: nil, holders: [self.holder])))
        #expect(machine.holders == [next])
        // A reply to a later request is newer again.
        var again = AcquireStateMachine(deadline: start + .seconds(60))
        #expect(again.held(by: [next]) == false)
        _ = again.requestFailed(self.unknown, now: start, jitter: 0)
        #expect(again.held(by: [next]) == false)
        #expect(again.retryStarted() == true)
        _ = again.replyArrived(.queued(QueuePlace(waitersAhead: nil, holders: [self.holder])))
        #expect(self.heldBy(&again) == [self.holder])
    }

    @Test func `an error that is certain is withdrawn all the same if an earlier outcome was not`() {
        var machine = AcquireStateMachine(deadline: nil)
        guard case .retry = machine.requestFailed(self.unknown, now: start, jitter: 0), machine.retryStarted(),
            case .finish(.failed(.cancelled, withdraw: true)) =
                machine.requestFailed(LockError(.cancelled, ""), now: start, jitter: 0)
        else {
            Issue.record("left on the store")
            return
        }
    }

    @Test func `a grant that is lost before it is taken is known to be lost`() throws {
        var machine = AcquireStateMachine(deadline: nil)
        machine.lost(.broken)
        _ = machine.replyArrived(.granted(try .test()))
        #expect(machine.loss == .broken)

        var waiting = self.queued()
        waiting.lost(.broken)
        #expect(waiting.loss == nil)
        _ = waiting.granted(try .test())
        waiting.lost(.sessionEnded)
        #expect(waiting.loss == .sessionEnded)
    }
}
