import Testing

@testable import RedisLocks

@Suite struct BallotTests {
    private func verdict(_ votes: [Ballot.Vote]) -> Ballot.Verdict? {
        var ballot = Ballot(count: 5)
        var verdicts: [Ballot.Verdict] = []
        for vote in votes {
            if let verdict = ballot.voted(vote) { verdicts.append(verdict) }
        }
        #expect(verdicts.count <= 1)
        return verdicts.first
    }

    @Test func `a quorum decides`() {
        #expect(self.verdict([.yes, .yes]) == nil)
        #expect(self.verdict([.yes, .no, .yes, .none, .yes]) == .yes)
        #expect(self.verdict([.no, .no, .no, .yes, .yes]) == .no)
        #expect(self.verdict([.none, .none, .none]) == .noQuorum)
        #expect(self.verdict([.none, .none, .yes, .no, .yes]) == .undecided)
        #expect(self.verdict([.none, .none, .yes, .no]) == nil)
    }
}
