import DistributedLocks
import Testing

@Suite struct LockValidityTests {
    @Test(arguments: [
        (Duration.seconds(30), Duration.milliseconds(302)),
        (.seconds(1), .milliseconds(12)),
        (.milliseconds(100), .milliseconds(3)),
    ])
    func `one percent of the lease and 2 ms are taken off`(lease: Duration, allowance: Duration) {
        #expect(LockValidity.driftAllowance(lease: lease) == allowance)
        #expect(LockValidity.deadline(lease: lease, sentAt: startInstant) == startInstant + lease - allowance)
    }

    @Test func `a lease shorter than the allowance was never valid`() {
        #expect(LockValidity.deadline(lease: .milliseconds(1), sentAt: startInstant) < startInstant)
    }
}
