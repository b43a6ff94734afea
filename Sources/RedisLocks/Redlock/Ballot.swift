/// Counts what the instances answer to a release or a renewal, until a quorum decides.
struct Ballot: Sendable {
    enum Vote: Sendable {
        case yes, no, none
    }

    enum Verdict: Equatable, Sendable {
        /// A quorum said yes.
        case yes
        /// So many said no that no quorum can say yes.
        case no
        /// Enough answered, but too few said yes, and too few said no.
        case undecided
        /// Fewer than a quorum answered.
        case noQuorum
    }

    private let count: Int
    private let quorum: Int
    private var yes = 0
    private var no = 0
    private var none = 0
    private var isDecided = false

    /// - Parameters:
    ///   - count: how many vote.
    ///   - quorum: how many decide; of the members, who may be more or fewer than those that this client has in its list.
    init(count: Int, quorum: Int) {
        self.count = count
        self.quorum = quorum
    }

    /// An instance has voted. Returns the verdict, once.
    mutating func voted(_ vote: Vote) -> Verdict? {
        switch vote {
        case .yes: self.yes += 1
        case .no: self.no += 1
        case .none: self.none += 1
        }
        precondition(self.yes + self.no + self.none <= self.count, "an instance voted twice")
        guard !self.isDecided, let verdict = self.verdict else { return nil }
        self.isDecided = true
        return verdict
    }

    private var verdict: Verdict? {
        if self.yes >= self.quorum { return .yes }
        // A client whose list is shorter than the quorum knows no more by a missing answer than by any other.
        let spare = max(0, self.count - self.quorum)
        if self.no > spare { return .no }
        if self.yes + self.no + self.none < self.count {
            // Those that are still out cannot make a quorum of answers any more.
            return self.none > spare ? .noQuorum : nil
        }
        return self.yes + self.no >= self.quorum ? .undecided : .noQuorum
    }
}
