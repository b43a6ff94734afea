import DistributedLocks
import LockKernel
import Testing

@testable import ZooKeeperLocks

@Suite struct ValidityChainTests {
    private let start = BootInstant.now
    private let timeout: Duration = .seconds(8)
    /// 1 % of the timeout and 2 ms.
    private let drift: Duration = .milliseconds(82)

    private func chain(isNew: Bool = true) -> ValidityChainStateMachine {
        var chain = ValidityChainStateMachine(timeout: self.timeout)
        chain.attached(sentAt: self.start, isNew: isNew)
        return chain
    }

    private func seconds(_ chain: ValidityChainStateMachine) -> Duration? {
        chain.deadline.map { self.start.duration(to: $0) + self.drift }
    }

    @Test func `a session that was just made is good for half its timeout`() {
        #expect(self.seconds(self.chain()) == .seconds(4))
    }

    @Test func `a session that was attached again proves nothing before a write is answered`() {
        var chain = self.chain(isNew: false)
        #expect(chain.deadline == nil)
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .milliseconds(10))
        #expect(self.seconds(chain) == .milliseconds(4_010))
    }

    @Test func `writes every eighth of the timeout extend it by half the timeout each`() {
        var chain = self.chain()
        for number in 1...20 {
            #expect(chain.writeStarted() == true)
            chain.answered(sentAt: self.start + .seconds(number))
            #expect(self.seconds(chain) == .seconds(number + 4))
        }
    }

    @Test func `after a pause a single write proves little`() {
        var chain = self.chain()
        for number in 1...4 {
            _ = chain.writeStarted()
            chain.answered(sentAt: self.start + .seconds(number))
        }
        // Stopped for 3.5 s, and then a write is answered: the leader may know of nothing later than the first link.
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .milliseconds(7_500))
        #expect(self.seconds(chain) == .seconds(9))
        // Only with more writes does it grow again.
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .milliseconds(8_500))
        #expect(self.seconds(chain) == .seconds(10))
    }

    @Test func `nothing is granted for a moment only`() {
        var chain = self.chain()
        let end = self.start + .seconds(4) - self.drift
        #expect(chain.isWorthGranting(now: end - chain.interval))
        #expect(!chain.isWorthGranting(now: end - chain.interval + .milliseconds(1)))
        #expect(!chain.isWorthGranting(now: end + .seconds(1)))
        // The slowest answer that is waited for leaves enough.
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .seconds(1))
        #expect(chain.isWorthGranting(now: self.start + .seconds(1) + chain.patience))
    }

    @Test func `one write is out at a time, and none counts from a connection that has ended`() {
        var chain = self.chain()
        #expect(chain.writeStarted() == true)
        #expect(chain.writeStarted() == false)
        chain.broken()
        chain.attached(sentAt: self.start + .seconds(2), isNew: false)
        #expect(self.seconds(chain) == .seconds(4))
        #expect(chain.writeStarted() == true)
        chain.answered(sentAt: self.start + .milliseconds(2_100))
        #expect(self.seconds(chain) == .milliseconds(6_100))
    }

    @Test func `a write that was refused proves nothing, and makes the next one prove no more`() {
        var chain = self.chain()
        for number in 1...4 {
            _ = chain.writeStarted()
            chain.answered(sentAt: self.start + .seconds(number))
        }
        #expect(chain.writeStarted() == true)
        chain.refused()
        #expect(self.seconds(chain) == .seconds(8))
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .milliseconds(7_500))
        #expect(self.seconds(chain) == .seconds(9))
    }

    @Test func `it never goes back`() {
        var chain = self.chain()
        for number in 1...8 {
            _ = chain.writeStarted()
            chain.answered(sentAt: self.start + .seconds(number))
        }
        let before = chain.deadline
        chain.broken()
        chain.attached(sentAt: self.start + .milliseconds(7_900), isNew: false)
        _ = chain.writeStarted()
        chain.answered(sentAt: self.start + .milliseconds(7_950))
        #expect(chain.deadline == before)
    }
}
