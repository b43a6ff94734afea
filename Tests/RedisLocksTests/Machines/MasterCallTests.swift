import LockKernel
import Testing

@testable import RedisLocks

@Suite struct MasterCallTests {
    private let start = BootInstant.now

    private func refusal(_ code: String) -> RedisError { RedisError(.refused, serverCode: code, "\(code) it says") }

    @Test func `who is no master any more is left, and the call is made again until its deadline`() {
        var call = MasterCall(deadline: self.start + .seconds(5), waitsOutRefusals: false)
        for second in 0..<5 {
            let now = self.start + .seconds(second)
            #expect(call.failed(self.refusal("READONLY"), wasLeft: true, now: now) == .again)
        }
        #expect(call.failed(self.refusal("READONLY"), wasLeft: true, now: self.start + .seconds(5)) == .fail)
        // Somebody else has given the connection up: this call is no better for that.
        #expect(call.failed(self.refusal("READONLY"), wasLeft: false, now: self.start) == .fail)
    }

    @Test func `an epoch that is too low is looked up once`() {
        var call = MasterCall(deadline: self.start + .seconds(5), waitsOutRefusals: true)
        #expect(call.failed(self.refusal("DLOCKEPOCH"), wasLeft: true, now: self.start) == .again)
        #expect(call.failed(self.refusal("DLOCKEPOCH"), wasLeft: true, now: self.start) == .fail)
    }

    @Test func `what passes is waited out, twice a second, and told a little before the deadline`() {
        var call = MasterCall(deadline: self.start + .seconds(2), waitsOutRefusals: true)
        var now = self.start
        for _ in 0..<3 {
            let next = now + .milliseconds(500)
            #expect(call.failed(self.refusal("OOM"), wasLeft: false, now: now) == .againAt(next))
            now = next
        }
        // A quarter of what is left, and not more than 250 ms.
        let told = self.start + .seconds(2) - .milliseconds(125)
        #expect(call.failed(self.refusal("OOM"), wasLeft: false, now: now) == .failAt(told))
        // A release does not wait: it is tried again by others.
        var release = MasterCall(deadline: self.start + .seconds(2), waitsOutRefusals: false)
        #expect(release.failed(self.refusal("OOM"), wasLeft: false, now: self.start) == .fail)
    }

    @Test(arguments: ["NOPERM", "WRONGTYPE", "NOAUTH"])
    func `what stays is told at once`(code: String) {
        var call = MasterCall(deadline: self.start + .seconds(2), waitsOutRefusals: true)
        #expect(call.failed(self.refusal(code), wasLeft: false, now: self.start) == .fail)
    }

    @Test func `no answer is nothing to wait out`() {
        var call = MasterCall(deadline: self.start + .seconds(2), waitsOutRefusals: true)
        for code in [RedisError.Code.notSent, .outcomeUnknown, .cancelled, .stopped, .unusableServer] {
            #expect(call.failed(RedisError(code, "it"), wasLeft: false, now: self.start) == .fail)
        }
    }
}
