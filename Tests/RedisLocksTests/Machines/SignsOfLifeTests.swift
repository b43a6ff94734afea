import LockKernel
import Testing

@testable import RedisLocks

@Suite struct SignsOfLifeTests {
    private let start = BootInstant.now

    @Test func `a silence counts from what was heard last, or from the first question after that`() {
        var life = SignsOfLife(timeout: .seconds(3), now: self.start)
        life.heard(now: self.start + .milliseconds(10), asked: self.start)
        #expect(life.end == self.start + .milliseconds(3_010))
        life.firstSent(now: self.start + .seconds(60))
        #expect(life.end == self.start + .seconds(63))
        let now = self.start + .milliseconds(60_300)
        #expect(life.silence(ofAtLeast: .milliseconds(250), now: now) == .milliseconds(300))
        #expect(life.silence(ofAtLeast: .milliseconds(301), now: now) == nil)
    }

    @Test func `a silence of less than three round trips means nothing`() {
        var life = SignsOfLife(timeout: .seconds(3), now: self.start)
        life.heard(now: self.start + .milliseconds(200), asked: self.start)
        #expect(life.silence(ofAtLeast: .milliseconds(250), now: self.start + .milliseconds(799)) == nil)
        #expect(life.silence(ofAtLeast: .milliseconds(250), now: self.start + .milliseconds(800)) != nil)
    }

    @Test func `what comes without a question says nothing of the round trip`() {
        var life = SignsOfLife(timeout: .seconds(3), now: self.start)
        life.heard(now: self.start + .milliseconds(1), asked: self.start)
        life.heard(now: self.start + .seconds(60), asked: nil)
        #expect(life.roundTrip.duration == .milliseconds(1))
    }

    @Test func `a long round trip is forgotten little by little, and a longer one counts at once`() {
        var trip = RoundTrip()
        trip.measured(.milliseconds(800))
        trip.measured(.milliseconds(1))
        #expect(trip.duration == .milliseconds(700))
        for _ in 0..<100 { trip.measured(.milliseconds(1)) }
        #expect(trip.duration == .milliseconds(1))
        trip.measured(.seconds(2))
        #expect(trip.duration == .seconds(2) && trip.shortestSilence == .seconds(6))
        let told = RoundTrip(compact: trip.compact).duration
        #expect(told <= .seconds(2) && told > .milliseconds(1_999))
    }
}
