import Testing

@testable import ZooKeeperLocks

@Suite struct ResumptionTests {
    @Test func `a claim that stands still asks later and later, up to a bound`() {
        var resumption = ResumptionStateMachine()
        var pauses: [Duration?] = []
        for _ in 0..<13 { pauses.append(resumption.attached(in: .unsure, random: 0)) }
        let atOnce = ResumptionStateMachine.mostAtOnce + 1
        #expect(pauses.prefix(atOnce).allSatisfy { $0 == nil })
        #expect(
            pauses.dropFirst(atOnce).map { $0 ?? .zero }
                == [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000].map { .milliseconds($0) })
        let last = resumption.attached(in: .unsure, random: 0.999) ?? .zero
        #expect(last > .seconds(19) && last <= ResumptionStateMachine.longestPause)
    }

    @Test func `a claim that gets on asks at once`() {
        var resumption = ResumptionStateMachine()
        for _ in 0..<10 { _ = resumption.attached(in: .unsure, random: 0) }
        #expect(resumption.attached(in: .leaving(nil, wasHolding: false), random: 0) == nil)
        for _ in 0..<10 { _ = resumption.attached(in: .leaving(nil, wasHolding: false), random: 0) }
        #expect(resumption.attached(in: .idle, random: 0) == nil)
    }

    @Test func `a claim that has nothing to ask never stands still`() {
        var resumption = ResumptionStateMachine()
        for _ in 0..<10 {
            #expect(resumption.attached(in: .unsure, random: 0) == nil)
            resumption.hadNothingToAsk()
        }
    }
}
