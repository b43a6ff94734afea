import LockKernel

/// What would change a recommendation: what the figures do not tell, and why they may be wrong.
struct RecommendationReservations {
    let page: BenchPage

    var all: [String] {
        [
            self.unoptimised, self.brief, self.noise, self.stolen, self.oneMachine, self.need,
        ].compactMap { $0 } + self.failures + self.settings + [self.tokens]
    }

    private var unoptimised: String? {
        self.page.conditions.isOptimised
            ? nil : "This dlock was built without optimisation. Measure with a release build before you decide."
    }

    private var brief: String? {
        let report = self.page.report
        guard report.rounds < 3 || report.secondsPerRound < 0.5 else { return nil }
        let rounds = report.rounds == 1 ? "One round" : "\(report.rounds) rounds"
        return "\(rounds) of \(Readable.threeDigits(report.secondsPerRound)) s is little to decide by: "
            + "the default is 5 rounds of 1 s."
    }

    /// The rounds of one backend should agree with each other.
    static let noisyRatio = 1.6

    private var noise: String? {
        var worst: (name: String, workload: String, ratio: Double)?
        for group in self.page.groups {
            for (slot, result) in group.results.enumerated() {
                guard let rate = result.cyclesPerSecond, rate.min > 0 else { continue }
                let ratio = rate.max / rate.min
                if ratio >= Self.noisyRatio, ratio > worst?.ratio ?? 0 {
                    worst = (self.page.subjects[slot].name, group.workload.name, ratio)
                }
            }
        }
        return worst.map {
            "Rounds of one measurement differ by a factor of up to \(Readable.factor($0.ratio)) (\($0.workload) on "
                + "\($0.name)): measure again on a quieter machine, or with more --rounds."
        }
    }

    private var stolen: String? {
        guard let share = self.page.conditions.stolenShare, share >= 0.05 else { return nil }
        return
            "Others on the host of this virtual machine took \(Readable.threeDigits(share * 100)) % of its processors' "
            + "time meanwhile: measure again in a quieter hour."
    }

    private var oneMachine: String? {
        let shared = self.page.subjects.filter { $0.isShared && $0.isOnThisHost }
        guard !shared.isEmpty else { return nil }
        let names = Readable.list(shared.map(\.name))
        let verb = shared.count == 1 ? "was reached" : "were reached"
        return
            "\(names) \(verb) on this host, and shared its processors with dlock. Over a network each exchange takes a "
            + "round trip longer, which can turn the order around: measure where your services will run."
    }

    /// The lowest rate tells below which need speed is no reason.
    private var need: String? {
        var slowest: (name: String, rate: Double)?
        for group in self.page.groups where group.workload.kind == .seq {
            for (slot, result) in group.results.enumerated() {
                guard let rate = result.cyclesPerSecond?.median, rate > 0, rate < slowest?.rate ?? .infinity else {
                    continue
                }
                slowest = (self.page.subjects[slot].name, rate)
            }
        }
        guard self.page.subjects.count > 1, let slowest else { return nil }
        return
            "Even \(slowest.name) does \(Readable.whole(slowest.rate)) cycles a second for one worker: if you need far "
            + "fewer, leave speed aside and choose by what each promises."
    }

    private var failures: [String] {
        self.page.failures.map { "Not measured: \($0)." }
    }

    private var settings: [String] {
        self.page.subjects.flatMap { subject in
            subject.warnings.map { "\(subject.name), by its own settings: \($0)." }
        }
    }

    private var tokens: String {
        "No lock can stop a holder that was paused and wakes up late. If two at once would do harm that cannot be repaired, "
            + "have the resource refuse old fencing tokens, on any of these."
    }
}
