/// The rules by which a backend is taken for a situation.
struct RecommendationRules {
    let page: BenchPage

    private var slots: Range<Int> { self.page.subjects.indices }
    private func name(_ slot: Int) -> String { self.page.subjects[slot].name }
    private func names(_ slots: [Int]) -> [String] { slots.map { self.name($0) } }

    // MARK: One host

    /// Embedded: it needs no server and sees a holder die, whatever the figures of the others are.
    var oneHost: Recommendation.Pick {
        let situation = "All that take the lock run on one host"
        let embedded = self.slots.filter { self.page.subjects[$0].store == .embedded }
        guard !embedded.isEmpty else {
            return Recommendation.Pick(
                situation: situation,
                choices: [],
                reasons: [
                    "The embedded backend needs no server and sees a holder die at once. It was not measured: "
                        + "add --backend embedded: to the command."
                ]
            )
        }
        let (leaders, speed) = self.fastest(embedded)
        var reasons = ["There is no server to run, and none that can be down."]
        reasons.append(self.deathReason(leaders[0]))
        let others = self.slots.filter { !embedded.contains($0) }
        if !others.isEmpty,
            others.allSatisfy({ if case .ahead = self.page.comparison(leaders[0], $0) { true } else { false } })
        {
            reasons.append("None of the others is clearly faster.")
        }
        if embedded.count > 1 { reasons.append(speed) }
        let faster = others.compactMap { other -> String? in
            switch self.page.comparison(leaders[0], other) {
            case .behind(let ratios): "\(self.name(other)) is \(SpeedComparison.shown(ratios)) as fast"
            case .mixed(_, let behind): "\(self.name(other)) is faster in \(Readable.list(behind))"
            case .unmeasured, .tooClose, .ahead: nil
            }
        }
        if !faster.isEmpty {
            reasons.append(
                "\(Readable.list(faster)): a reason only if you need that much, and then it is a server to run.")
        }
        return Recommendation.Pick(situation: situation, choices: self.names(leaders), reasons: reasons)
    }

    private func deathReason(_ slot: Int) -> String {
        let measured = self.takeovers
        guard let own = measured[slot] else {
            return "A holder that dies is seen at once, and not when its lease is over."
        }
        let others = measured.filter { $0.key != slot && $0.value > own * 5 }.sorted { $0.key < $1.key }
        let start = "A killed holder is followed within \(Readable.microseconds(own))"
        guard !others.isEmpty else { return "\(start)." }
        let list = others.map { "\(Readable.microseconds($0.value)) on \(self.name($0.key))" }
        return "\(start); where only a lease tells, it takes \(Readable.list(list))."
    }

    /// The medians, in microseconds, by slot.
    private var takeovers: [Int: Double] {
        var times: [Int: Double] = [:]
        for group in self.page.groups {
            for (slot, result) in group.results.enumerated() {
                if let median = result.takeoverMicroseconds?.p50 { times[slot] = median }
            }
        }
        return times
    }

    // MARK: Several hosts

    /// The fastest, if it is clearly that; otherwise what promises more.
    var severalHosts: Recommendation.Pick {
        let situation = "Several hosts take the lock, and locks may wait while a server is restarted"
        let shared = self.slots.filter { self.page.subjects[$0].isShared }
        guard !shared.isEmpty else {
            return Recommendation.Pick(
                situation: situation,
                choices: [],
                reasons: [
                    "Embedded locks guard one host. Measure what hosts can share beside it, as in "
                        + "--backend redis://HOST or --backend zookeeper://HOST."
                ]
            )
        }
        guard shared.count > 1 else {
            return Recommendation.Pick(
                situation: situation,
                choices: self.names(shared),
                reasons: ["It is the only one of these that several hosts can share."] + self.promises(shared[0])
            )
        }
        let (leaders, speed) = self.fastest(shared)
        return Recommendation.Pick(
            situation: situation,
            choices: self.names(leaders),
            reasons: [speed] + (leaders.count == 1 ? self.promises(leaders[0]) : [])
        )
    }

    private func promises(_ slot: Int) -> [String] {
        let promises = self.page.subjects[slot].guarantees
        return ["If a server dies: \(promises.serverDies). Two hold at once \(promises.twoHold)."]
    }

    /// Those to take by speed, or by what they promise where speed does not decide; and why.
    private func fastest(_ slots: [Int]) -> (leaders: [Int], reason: String) {
        func isAhead(_ first: Int, _ second: Int) -> ClosedRange<Double>? {
            if case .ahead(let ratios) = self.page.comparison(first, second) { ratios } else { nil }
        }
        for slot in slots {
            let others = slots.filter { $0 != slot }
            let ratios = others.compactMap { isAhead(slot, $0) }
            guard ratios.count == others.count, !others.isEmpty else { continue }
            let list = zip(others, ratios).map { "\(SpeedComparison.shown($1)) as fast as \(self.name($0))" }
            return ([slot], "It is the fastest: \(Readable.list(list)).")
        }
        // Whoever is clearly slower than another is out.
        let first = slots.filter { slot in !slots.contains { isAhead($0, slot) != nil } }
        // Three may be ahead of each other in a circle, each elsewhere.
        let contenders = first.isEmpty ? slots : first
        guard contenders.count > 1 else {
            return (contenders, "Each of the others is clearly slower than another of these.")
        }
        let why = self.indecision(contenders)
        let strongest = contenders.map { self.page.subjects[$0].strength }.max() ?? 0
        let leaders = contenders.filter { self.page.subjects[$0].strength == strongest }
        if leaders.count == 1 {
            return (leaders, "\(why), so what they promise decides: \(self.name(leaders[0])) promises the most.")
        }
        return (leaders, "\(why), and they promise the same: take the one that you run anyway.")
    }

    private func indecision(_ contenders: [Int]) -> String {
        let names = Readable.list(self.names(contenders))
        for (index, first) in contenders.enumerated() {
            for second in contenders.dropFirst(index + 1) {
                switch self.page.comparison(first, second) {
                case .mixed(let ahead, let behind):
                    return "\(self.name(first)) is faster in \(Readable.list(ahead)), \(self.name(second)) in "
                        + Readable.list(behind)
                case .unmeasured:
                    return "No workload was measured that tells which of \(names) is faster"
                case .tooClose, .ahead, .behind: continue
                }
            }
        }
        let areFar = self.page.groups.contains { group in
            let medians = contenders.compactMap { group.spread($0)?.median }
            return medians.count > 1
                && (medians.max() ?? 0) >= (medians.min() ?? 0) * SpeedComparison.closeRatio
        }
        return areFar
            ? "The rounds of \(names) overlap, which is too close to decide by speed"
            : "The figures of \(names) are too close to decide by speed"
    }

    // MARK: A server that dies

    /// What promises the most; a faster one is named with what it takes to be content with it.
    var outlivingAServer: Recommendation.Pick {
        let situation = "Locks must outlive any one server"
        let able = self.slots.filter { self.page.subjects[$0].outlivesAServer }
        let strongest = able.map { self.page.subjects[$0].strength }.max()
        let top = able.filter { self.page.subjects[$0].strength == strongest }
        guard let first = top.first else {
            return Recommendation.Pick(situation: situation, choices: [], reasons: self.noneOutlives)
        }
        let (leaders, speed) = top.count > 1 ? self.fastest(top) : (top, "")
        var reasons = self.promises(leaders.first ?? first)
        if !speed.isEmpty { reasons.append(speed) }
        if self.page.subjects[first].store == .sentinel {
            reasons.append("A failover may lose a grant: only with a resource that refuses old fencing tokens.")
        }
        for other in able where !top.contains(other) {
            guard case .ahead(let ratios) = self.page.comparison(other, leaders[0]) else { continue }
            reasons.append(
                "\(self.name(other)) is \(SpeedComparison.shown(ratios)) as fast, for a weaker promise: two hold at once "
                    + "\(self.page.subjects[other].guarantees.twoHold)."
            )
        }
        return Recommendation.Pick(situation: situation, choices: self.names(leaders), reasons: reasons)
    }

    private var noneOutlives: [String] {
        var reasons = ["With none of these do locks go on while a server is down."]
        if self.page.subjects.contains(where: { $0.store == .zookeeper }) {
            reasons.append("ZooKeeper does with three servers: measure it with three in its URL.")
        } else {
            reasons.append(
                "Measure --backend zookeeper://z1,z2,z3 or --backend redlock://r1,r2,r3 beside them to see what that costs."
            )
        }
        return reasons
    }
}

extension BenchSubject {
    /// Whether several hosts can use it.
    var isShared: Bool {
        switch self.store {
        case .redis, .sentinel, .redlock, .zookeeper: true
        case .embedded, .other: false
        }
    }

    /// How much it promises, beside others that several hosts can share.
    var strength: Int {
        switch self.store {
        case .zookeeper: self.outlivesAServer ? 4 : 1
        case .redlock: self.outlivesAServer ? 3 : 0
        case .sentinel: 2
        case .redis: 0
        case .embedded, .other: 0
        }
    }
}
