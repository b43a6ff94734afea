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

    init(count: Int) {
        self.count = count
        self.quorum = count / 2 + 1
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
        if self.no > self.count - self.quorum { return .no }
        if self.yes + self.no + self.none < self.count {
            // Those that are still out cannot make a quorum of answers any more.
            return self.none > self.count - self.quorum ? .noQuorum : nil
        }
        return self.yes + self.no >= self.quorum ? .undecided : .noQuorum
    }
}
