extension BenchPage {
    /// The plots that the figures are enough for, in the order of the page.
    var sections: [PlotSection] {
        [
            PlotSection(
                title: "Throughput",
                note: "A cycle is an acquire and a release. \(self.roundsNote)",
                plots: self.groups.compactMap(self.throughput)
            ),
            PlotSection(
                title: "Latency", note: self.percentileNote, plots: self.groups.compactMap(self.latency)),
            PlotSection(
                title: "From one holder to the next",
                plots: self.groups.compactMap(self.handOver) + self.groups.compactMap(self.takeover)
                    + self.groups.compactMap(self.serving)
            ),
            PlotSection(title: "What waiting costs", plots: self.groups.flatMap(self.waiting)),
        ].filter { !$0.plots.isEmpty }
    }

    private var roundsNote: String {
        self.report.rounds == 1
            ? "Of one round."
            : "Medians of \(self.report.rounds) rounds; the thin lines go from the lowest to the highest."
    }

    private var percentileNote: String {
        "p50: half are shorter. p99: one in a hundred is longer. An open dot stands for few: a round had less than that takes."
    }

    private func throughput(_ group: Group) -> Plot? {
        let bars = self.labelled(group) { result in
            result.cyclesPerSecond.map { rate in (rate.median, rate.min...rate.max, Readable.whole(rate.median)) }
        }
        guard let bars else { return nil }
        return Plot(
            sentence: PlotSentence.rates(
                group.workload,
                bars.map { PlotSentence.Rate(name: $0.label.name, value: $0.value, range: $0.range) }),
            note: "\(group.inWords).",
            unit: "cycles a second",
            kind: .bars(bars)
        )
    }

    private func latency(_ group: Group) -> Plot? {
        let isWait = group.workload.kind == .hot
        return self.percentiles(
            group,
            unit: isWait ? "wait for the lock" : "time of a cycle",
            note: "\(group.inWords)."
        ) { result in
            isWait ? result.waitMicroseconds : result.cycleMicroseconds
        } sentence: { times in
            PlotSentence.latency(group.workload, times)
        }
    }

    private func handOver(_ group: Group) -> Plot? {
        self.percentiles(
            group,
            unit: "from one holder's last step to the next one's first",
            note: "\(group.inWords), where somebody was waiting already."
        ) { result in
            result.handOverMicroseconds
        } sentence: { times in
            PlotSentence.handOver(times)
        }
    }

    private func percentiles(
        _ group: Group,
        unit: String,
        note: String,
        _ times: (BenchResult) -> Percentiles?,
        sentence: ([PlotSentence.Time]) -> String
    ) -> Plot? {
        var rows: [Plot.DotRow] = []
        var named: [PlotSentence.Time] = []
        for (slot, result) in group.results.enumerated() {
            guard let times = times(result) else { continue }
            let fewest = result.rounds.map(\.cycles).min() ?? 0
            let dots = [
                ("p50", times.p50, 2), ("p90", times.p90, 10), ("p99", times.p99, 100), ("p99.9", times.p999, 1_000),
            ].map { Plot.Dot(name: $0.0, microseconds: $0.1, isFirm: fewest >= $0.2) }
            rows.append(Plot.DotRow(label: self.label(slot), dots: dots))
            named.append(PlotSentence.Time(name: self.subjects[slot].name, p50: times.p50, p99: times.p99))
        }
        guard !rows.isEmpty else { return nil }
        return Plot(sentence: sentence(named), note: note, unit: unit, kind: .dots(rows))
    }

    private func takeover(_ group: Group) -> Plot? {
        var rows: [Plot.DotRow] = []
        var named: [PlotSentence.Time] = []
        for (slot, result) in group.results.enumerated() {
            guard let times = result.takeoverMicroseconds else { continue }
            let all = result.rounds.compactMap(\.takeoverMicroseconds).flatMap { $0 }
            let dots =
                [Plot.Dot(name: "median", microseconds: times.p50)]
                + (times.max > times.p50 * 1.001 ? [Plot.Dot(name: "longest", microseconds: times.max)] : [])
            rows.append(Plot.DotRow(label: self.label(slot), dots: dots, single: Self.thinned(all)))
            named.append(PlotSentence.Time(name: self.subjects[slot].name, p50: times.p50, p99: times.p99))
        }
        guard !rows.isEmpty else { return nil }
        let lease = Readable.microseconds(Double(self.report.leaseMilliseconds) * 1_000)
        return Plot(
            sentence: PlotSentence.takeover(named),
            note: "The holder's process is killed (SIGKILL); each faint dot is one death. Lease: \(lease)"
                + (self.subjects.contains { $0.store == .zookeeper }
                    ? "; on ZooKeeper the session's timeout counts." : "."),
            unit: "from the death to the next grant",
            kind: .dots(rows)
        )
    }

    /// At most so many that a page stays small: some of each part of their range.
    static func thinned(_ values: [Double], to count: Int = 60) -> [Double] {
        guard values.count > count else { return values }
        let sorted = values.sorted()
        return (0..<count).map { sorted[$0 * (sorted.count - 1) / (count - 1)] }
    }

    private func serving(_ group: Group) -> Plot? {
        var rows: [Plot.DotRow] = []
        var costs: [PlotSentence.Cost] = []
        for (slot, result) in group.results.enumerated() {
            guard let median = result.idle?.servingSeconds else { continue }
            let dot = Plot.Dot(name: self.report.rounds == 1 ? "all" : "median", microseconds: median * 1e6)
            let rounds = result.rounds.compactMap(\.idle).map { $0.servingSeconds * 1e6 }
            rows.append(Plot.DotRow(label: self.label(slot), dots: [dot], single: Self.thinned(rounds)))
            let shown = Readable.microseconds(median * 1e6)
            costs.append(PlotSentence.Cost(name: self.subjects[slot].name, value: median, shown: shown))
        }
        guard !rows.isEmpty else { return nil }
        return Plot(
            sentence: PlotSentence.serving(Readable.whole(Double(group.workload.workers)), costs),
            note: "Workload \(group.workload.name); each faint dot is one round.",
            unit: "from the release until the last one has held the lock",
            kind: .dots(rows)
        )
    }

    private func waiting(_ group: Group) -> [Plot] {
        let workers = Readable.whole(Double(group.workload.workers))
        func perSecond(_ value: Double, _ idle: IdleRound) -> Double? { idle.seconds > 0 ? value / idle.seconds : nil }
        return [
            self.cost(
                group,
                unit: "% of one processor",
                note: "Workload \(group.workload.name): waiters in one process, on a lock that stays held.",
                { perSecond($0.cpuSeconds * 100, $0) },
                { "\(Readable.threeDigits($0)) %" },
                { PlotSentence.idleProcessor(workers, $0) }
            ),
            self.cost(
                group,
                unit: "context switches a second",
                note: "How often threads of the waiters' process were woken, or made way for others.",
                { perSecond(Double($0.contextSwitches), $0) },
                { Readable.factor($0) },
                { PlotSentence.idleSwitches(workers, $0) }
            ),
            self.cost(
                group,
                unit: "KiB of memory a waiter",
                note: "Resident memory of the waiters' process, with them and without.",
                { $0.bytesPerWaiter.map { $0 / 1_024 } },
                { "\(Readable.threeDigits($0)) KiB" },
                { PlotSentence.idleMemory($0) }
            ),
        ].compactMap { $0 }
    }

    private func cost(
        _ group: Group,
        unit: String,
        note: String,
        _ value: (IdleRound) -> Double?,
        _ shown: (Double) -> String,
        _ sentence: ([PlotSentence.Cost]) -> String
    ) -> Plot? {
        let bars = self.labelled(group) { result -> (Double, ClosedRange<Double>?, String)? in
            guard let idle = result.idle, let median = value(idle) else { return nil }
            let rounds = result.rounds.compactMap(\.idle).compactMap(value)
            let range = rounds.min().flatMap { low in rounds.max().map { low...$0 } }
            return (median, range, shown(median))
        }
        guard let bars else { return nil }
        return Plot(
            sentence: sentence(bars.map { PlotSentence.Cost(name: $0.label.name, value: $0.value, shown: $0.shown) }),
            note: note,
            unit: unit,
            kind: .bars(bars)
        )
    }

    private func labelled(
        _ group: Group,
        _ figure: (BenchResult) -> (Double, ClosedRange<Double>?, String)?
    ) -> [Plot.Bar]? {
        let bars = group.results.enumerated().compactMap { slot, result in
            figure(result).map {
                Plot.Bar(label: self.label(slot), value: $0.0, range: self.report.rounds > 1 ? $0.1 : nil, shown: $0.2)
            }
        }
        return bars.isEmpty ? nil : bars
    }
}

extension BenchPage.Group {
    /// `Workload hot-16, in 4 processes`.
    fileprivate var inWords: String {
        let processes = self.results.first?.processes.map { ", in \($0) processes" } ?? ""
        return "Workload \(self.workload.name)\(processes)"
    }
}
