import Histogram

/// Times in nanoseconds, with three significant digits.
typealias TimeHistogram = Histogram<UInt64>

extension Histogram where Count == UInt64 {
    /// For times up to 39 hours. It is made for all of them at once (0.3 MB): one that grows does so while it measures,
    /// and takes a millisecond for it.
    static func ofTimes() -> TimeHistogram {
        TimeHistogram(highestTrackableValue: 1 << 47, numberOfSignificantValueDigits: .three)
    }
}

/// Percentiles of a time, in microseconds.
struct Percentiles: Codable, Equatable, Sendable {
    var p50: Double
    var p90: Double
    var p99: Double
    var p999: Double
    var max: Double

    /// `nil` if nothing was recorded.
    init?(_ histogram: TimeHistogram) {
        guard histogram.totalCount > 0 else { return nil }
        func microseconds(_ percentile: Double) -> Double {
            Double(histogram.valueAtPercentile(percentile)) / 1_000
        }
        self.p50 = microseconds(50)
        self.p90 = microseconds(90)
        self.p99 = microseconds(99)
        self.p999 = microseconds(99.9)
        self.max = microseconds(100)
    }

    init(p50: Double, p90: Double, p99: Double, p999: Double, max: Double) {
        self.p50 = p50
        self.p90 = p90
        self.p99 = p99
        self.p999 = p999
        self.max = max
    }

    /// Of several rounds: the median of each percentile, and the longest time of all. `nil` for no round.
    static func ofRounds(_ rounds: [Percentiles]) -> Percentiles? {
        guard let p50 = Statistics.median(rounds.map(\.p50)), let p90 = Statistics.median(rounds.map(\.p90)),
            let p99 = Statistics.median(rounds.map(\.p99)), let p999 = Statistics.median(rounds.map(\.p999)),
            let max = rounds.map(\.max).max()
        else { return nil }
        return Percentiles(p50: p50, p90: p90, p99: p99, p999: p999, max: max)
    }
}

enum Statistics {
    /// The middle one, or the mean of the two in the middle; `nil` for nothing.
    static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// How unevenly the work was spread: the busiest worker's cycles divided by the least busy one's. `nil` for less than
    /// two workers, or if one had no turn at all.
    static func imbalance(_ cycles: [Int]) -> Double? {
        guard cycles.count > 1, let most = cycles.max(), let least = cycles.min(), least > 0 else { return nil }
        return Double(most) / Double(least)
    }
}
