/// Sentences that say what the figures of a plot are: its title.
enum PlotSentence {
    struct Rate: Equatable {
        let name: String
        let value: Double
        let range: ClosedRange<Double>?
    }

    struct Time: Equatable {
        let name: String
        let p50: Double
        let p99: Double
    }

    struct Cost: Equatable {
        let name: String
        let value: Double
        let shown: String
    }

    /// Who wants what, before a colon.
    static func situation(_ workload: Workload) -> String {
        let workers = Readable.whole(Double(workload.workers))
        switch workload.kind {
        case .seq, .crash: return "One worker alone"
        case .wide: return workload.workers == 1 ? "One worker" : "\(workers) workers, a lock each"
        case .hot, .idle: return workload.workers == 1 ? "One worker" : "\(workers) workers, one lock"
        }
    }

    static func rates(_ workload: Workload, _ rates: [Rate]) -> String {
        let situation = Self.situation(workload)
        let sorted = rates.sorted { $0.value > $1.value }
        guard let best = sorted.first else { return situation }
        let does = "\(situation): \(best.name) does \(Readable.whole(best.value)) cycles a second"
        let others = sorted.dropFirst()
        guard let second = others.first, let last = others.last else { return does }
        let close = others.prefix { SpeedComparison.isTooClose(best.spread, $0.spread) }.map(\.name)
        if !close.isEmpty {
            let rest = others.dropFirst(close.count)
            let figures = [best.value] + others.prefix(close.count).map(\.value)
            let isEqual = figures.allSatisfy { best.value < $0 * SpeedComparison.closeRatio }
            let names = Readable.list([best.name] + close)
            let start =
                "\(situation): " + (isEqual ? "\(names) are too close to tell apart" : "rounds of \(names) overlap")
                + ", at \(Readable.list(figures.map { Readable.whole($0) })) cycles a second"
            guard let last = rest.last else { return start }
            return "\(start); \(last.name) does \(Readable.whole(last.value))"
        }
        let ratio = "\(does), \(Readable.factor(best.value / second.value)) × \(second.name)"
        return others.count == 1
            ? ratio : "\(ratio) and \(Readable.factor(best.value / last.value)) × \(last.name)"
    }

    static func latency(_ workload: Workload, _ times: [Time]) -> String {
        let what = workload.kind == .hot ? "waits end" : "cycles end"
        return "\(Self.situation(workload)): 99 of 100 \(what) "
            + Self.each(times.map { ($0.name, $0.p99, "within \(Readable.microseconds($0.p99))") })
    }

    static func handOver(_ times: [Time]) -> String {
        "Half of the hand-overs are done "
            + Self.each(times.map { ($0.name, $0.p50, "within \(Readable.microseconds($0.p50))") })
    }

    static func takeover(_ times: [Time]) -> String {
        "When a holder is killed, the next one has the lock "
            + Self.each(times.map { ($0.name, $0.p50, "after \(Readable.microseconds($0.p50))") })
    }

    static func idleProcessor(_ waiters: String, _ costs: [Cost]) -> String {
        "Of one processor, \(waiters) waiters at rest use "
            + Self.each(costs.map { ($0.name, $0.value, $0.shown) })
    }

    static func idleSwitches(_ waiters: String, _ costs: [Cost]) -> String {
        "\(waiters) waiters at rest switch threads "
            + Self.each(costs.map { ($0.name, $0.value, "\($0.shown) times a second") })
    }

    static func idleMemory(_ costs: [Cost]) -> String {
        "A waiter takes " + Self.each(costs.map { ($0.name, $0.value, $0.shown) })
    }

    static func serving(_ waiters: String, _ costs: [Cost]) -> String {
        "When the holder lets go, all \(waiters) are served "
            + Self.each(costs.map { ($0.name, $0.value, "within \($0.shown)") })
    }

    /// `2 ms on embedded and 10 s on Redis`: all of three, the best and the worst of more.
    private static func each(_ items: [(name: String, value: Double, shown: String)]) -> String {
        guard items.count > 3, let best = items.min(by: { $0.value < $1.value }),
            let worst = items.max(by: { $0.value < $1.value })
        else { return Readable.list(items.map { "\($0.shown) on \($0.name)" }) }
        return "\(best.shown) on \(best.name) and \(worst.shown) on \(worst.name), the others between"
    }
}

extension PlotSentence.Rate {
    var spread: SpeedComparison.Spread {
        SpeedComparison.Spread(
            median: self.value, min: self.range?.lowerBound ?? self.value, max: self.range?.upperBound ?? self.value)
    }
}
