import Testing

@testable import RedisLocks

@Suite struct BallotTests {
    private func verdict(_ votes: [Ballot.Vote], count: Int = 5) -> Ballot.Verdict? {
        var ballot = Ballot(count: count, quorum: 3)
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

    @Test func `the quorum is that of the members, whatever list a client has`() {
        // Three of four are needed, and one of them is not in its list.
        #expect(self.verdict([.yes, .yes], count: 3) == nil)
        #expect(self.verdict([.yes, .yes, .yes], count: 3) == .yes)
        #expect(self.verdict([.yes, .no], count: 3) == .no)
        #expect(self.verdict([.none], count: 3) == .noQuorum)
        // Of two in its list, of five members: that one does not answer is no `no`.
        #expect(self.verdict([.none], count: 2) == .noQuorum)
        #expect(self.verdict([.yes], count: 2) == nil)
        #expect(self.verdict([.yes, .none], count: 2) == .noQuorum)
        #expect(self.verdict([.yes, .no], count: 2) == .no)
        // Of six in its list only four are members.
        #expect(self.verdict([.none, .none, .no, .yes, .yes, .yes], count: 6) == .yes)
    }
}
