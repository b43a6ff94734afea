import LockKernel
import Testing

@testable import DistributedLocks

@Suite struct CallStateMachineTests {
    @Test func `a place that was lost is asked for anew at once, and later after pauses`() {
        var call = CallStateMachine(joinsQueue: true, deadline: nil)
        #expect(call.placeWasLost(jitter: 1) == .zero)
        let pause = call.placeWasLost(jitter: 1)
        #expect(pause > .zero)
        #expect(call.placeWasLost(jitter: 1) > pause)
    }

    @Test func `grants that had ended are asked for anew so often, and not more`() {
        var call = CallStateMachine(joinsQueue: true, deadline: nil)
        for _ in 0..<CallStateMachine.maximumEndedGrants {
            #expect(call.grantHadEnded(.leaseExpired, now: start, jitter: 0) != nil)
        }
        #expect(call.grantHadEnded(.leaseExpired, now: start, jitter: 0) == nil)
    }

    @Test func `a call does not ask anew that does not wait, whose time is over, or whose lock was broken`() {
        var impatient = CallStateMachine(joinsQueue: false, deadline: nil)
        #expect(impatient.grantHadEnded(.leaseExpired, now: start, jitter: 0) == nil)
        var late = CallStateMachine(joinsQueue: true, deadline: start)
        #expect(late.isOver(at: start))
        #expect(late.grantHadEnded(.leaseExpired, now: start, jitter: 0) == nil)
        var broken = CallStateMachine(joinsQueue: true, deadline: start + .seconds(1))
        #expect(!broken.isOver(at: start))
        #expect(broken.grantHadEnded(.broken, now: start, jitter: 0) == nil)
    }
}
