/// Which of two backends is faster, if the figures are enough to say so.
enum SpeedComparison: Equatable {
    /// No workload was measured on both.
    case unmeasured
    /// In no workload is one clearly ahead.
    case tooClose
    /// The first one is so many times as fast, in each workload where one is clearly ahead.
    case ahead(ClosedRange<Double>)
    /// The second one is.
    case behind(ClosedRange<Double>)
    /// Each is ahead somewhere: the workloads where the first one is, and where the second one is.
    case mixed(ahead: [String], behind: [String])

    /// The cycles a second of one workload on one backend.
    struct Spread: Equatable {
        let median: Double
        let min: Double
        let max: Double
    }

    /// A difference below this is none: on one machine, runs of one day differ by more.
    static let closeRatio = 1.25

    /// Whether two figures are too close to call one of them faster: by their medians, or as their rounds overlap.
    static func isTooClose(_ first: Spread, _ second: Spread) -> Bool {
        let (low, high) = first.median < second.median ? (first, second) : (second, first)
        guard low.median > 0 else { return high.median <= 0 }
        return high.median / low.median < Self.closeRatio || low.max >= high.min
    }

    /// - Parameter loads: The name of a workload, and its figures on both.
    init(_ loads: [(workload: String, first: Spread, second: Spread)]) {
        guard !loads.isEmpty else {
            self = .unmeasured
            return
        }
        let clear = loads.filter { !Self.isTooClose($0.first, $0.second) }
        let ahead = clear.filter { $0.first.median > $0.second.median }
        let behind = clear.filter { $0.first.median < $0.second.median }
        func ratios(_ loads: [(workload: String, first: Spread, second: Spread)]) -> ClosedRange<Double>? {
            let all = loads.map { load in
                let (low, high) = (
                    min(load.first.median, load.second.median), max(load.first.median, load.second.median)
                )
                // One that did nothing at all is behind by any number.
                return low > 0 ? high / low : high
            }
            return all.min().flatMap { low in all.max().map { low...$0 } }
        }
        switch (ratios(ahead), ratios(behind)) {
        case (nil, nil): self = .tooClose
        case (.some(let range), nil): self = .ahead(range)
        case (nil, .some(let range)): self = .behind(range)
        case (.some, .some): self = .mixed(ahead: ahead.map(\.workload), behind: behind.map(\.workload))
        }
    }
}

extension SpeedComparison {
    /// `3.1 ×`, or `1.8 to 6.2 ×`.
    static func shown(_ ratios: ClosedRange<Double>) -> String {
        let (low, high) = (Readable.factor(ratios.lowerBound), Readable.factor(ratios.upperBound))
        return low == high ? "\(low) ×" : "\(low) to \(high) ×"
    }
}

extension BenchPage {
    /// Compares two backends by all workloads that give a rate.
    func comparison(_ first: Int, _ second: Int) -> SpeedComparison {
        SpeedComparison(
            self.groups.compactMap { group in
                guard let one = group.spread(first), let other = group.spread(second) else { return nil }
                return (group.workload.name, one, other)
            }
        )
    }
}

extension BenchPage.Group {
    func spread(_ slot: Int) -> SpeedComparison.Spread? {
        self.results[slot].cyclesPerSecond.map {
            SpeedComparison.Spread(median: $0.median, min: $0.min, max: $0.max)
        }
    }
}
