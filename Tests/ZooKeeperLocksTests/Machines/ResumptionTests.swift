import Testing

@testable import ZooKeeperLocks

@Suite struct ResumptionTests {
    @Test func `a claim that stands still asks later and later, up to a bound`() {
        var resumption = ResumptionStateMachine()
        var pauses: [ZooKeeperMachine.Pause?] = []
        for _ in 0..<13 { pauses.append(resumption.attached(in: .unsure)) }
        let atOnce = ResumptionStateMachine.mostAtOnce + 1
        #expect(pauses.prefix(atOnce).allSatisfy { $0 == nil })
        let rest = pauses.dropFirst(atOnce)
        #expect(
            rest.map { $0?.shortest ?? .zero }
                == [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000].map { .milliseconds($0) })
        #expect(rest.allSatisfy { $0.map { $0.longest == $0.shortest * 2 } ?? false })
        #expect(rest.last??.longest == ResumptionStateMachine.longestPause)
    }

    @Test func `a claim that gets on asks at once`() {
        var resumption = ResumptionStateMachine()
        for _ in 0..<10 { _ = resumption.attached(in: .unsure) }
        #expect(resumption.attached(in: .leaving(nil, wasHolding: false)) == nil)
        for _ in 0..<10 { _ = resumption.attached(in: .leaving(nil, wasHolding: false)) }
        #expect(resumption.attached(in: .idle) == nil)
    }

    @Test func `a claim that has nothing to ask never stands still`() {
        var resumption = ResumptionStateMachine()
        for _ in 0..<10 {
            #expect(resumption.attached(in: .unsure) == nil)
            resumption.hadNothingToAsk()
        }
    }
}
