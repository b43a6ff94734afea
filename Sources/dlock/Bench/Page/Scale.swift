import Foundation

/// Places on an axis from zero.
struct LinearScale: Equatable {
    /// The value at the end of the axis.
    let upper: Double
    let length: Double
    /// Round numbers, the first of them 0.
    let ticks: [Double]

    /// - Parameters:
    ///   - highest: The highest value that is shown.
    ///   - tickCount: How many steps there are at most.
    init(upTo highest: Double, length: Double, tickCount: Int = 4) {
        self.length = length
        let highest = highest.isFinite && highest > 0 ? highest : 1
        self.upper = highest
        let step = Self.roundStep(highest / Double(tickCount))
        // A step that is 0.1 more often than it should is not there by rounding alone.
        self.ticks = (0...tickCount).map { Double($0) * step }.filter { $0 <= highest * 1.000_001 }
    }

    func position(_ value: Double) -> Double {
        guard value.isFinite else { return 0 }
        return min(max(value / self.upper, 0), 1) * self.length
    }

    /// The next number above that is 1, 2 or 5 times a power of ten.
    static func roundStep(_ raw: Double) -> Double {
        let power = pow(10, floor(log10(raw)))
        let factor = raw / power
        let round = [1.0, 2, 5].first { factor <= $0 * 1.000_001 } ?? 10
        return round * power
    }
}

/// Places on an axis on which each power of ten is as long as the next.
struct LogScale: Equatable {
    let lower: Double
    let upper: Double
    let length: Double
    let ticks: [Double]

    /// Times are shown from here on; a clock that tells of less time than this has none to tell.
    static let smallest = 0.01

    /// The axis for these values; one decade if there are none.
    init(of values: [Double], length: Double) {
        self.length = length
        let shown = values.filter(\.isFinite).map { max($0, Self.smallest) }
        let (least, most) = (shown.min() ?? 1, shown.max() ?? 1)
        // No dot lies on the end of the axis.
        let steps = Self.steps(from: least / 1.05, to: most * 1.05)
        self.lower = steps.first ?? 1
        self.upper = steps.last ?? 10
        let powers = steps.filter { abs(log10($0) - log10($0).rounded()) < 1e-9 }
        self.ticks = powers.count > 3 ? powers : steps
    }

    func position(_ value: Double) -> Double {
        guard value.isFinite else { return 0 }
        let share = log(max(value, Self.smallest) / self.lower) / log(self.upper / self.lower)
        return min(max(share, 0), 1) * self.length
    }

    /// 1, 2 and 5 times powers of ten, from the last one below to the first one above; two at least.
    private static func steps(from least: Double, to most: Double) -> [Double] {
        var steps: [Double] = []
        for exponent in Int(floor(log10(least)))...Int(ceil(log10(most))) + 1 {
            for factor in [1.0, 2, 5] {
                // Not pow(10, -2) * 5, which is no 0.05.
                let value = exponent < 0 ? factor / pow(10, Double(-exponent)) : factor * pow(10, Double(exponent))
                if value <= least { steps.removeAll() }
                steps.append(value)
                if value >= most, steps.count > 1 { return steps }
            }
        }
        return steps
    }
}

/// Puts labels beside each other on a line, each as near to its place as the others allow.
enum LabelLayout {
    /// The centres of the labels, in the order of the places that are wanted.
    ///
    /// Labels that would touch are moved together, around the mean of their places. If they do not fit at all, they begin
    /// at the left and overlap at the right.
    static func centres(wanted: [Double], widths: [Double], gap: Double, length: Double) -> [Double] {
        struct Cluster {
            var members: [Int]
            var width: Double
            /// Where it begins, if nothing else is there.
            var start: Double
        }
        func start(_ members: [Int], _ width: Double) -> Double {
            var offset = 0.0
            var sum = 0.0
            for member in members {
                sum += wanted[member] - (offset + widths[member] / 2)
                offset += widths[member] + gap
            }
            return max(0, min(sum / Double(members.count), length - width))
        }
        var clusters: [Cluster] = []
        for index in wanted.indices.sorted(by: { wanted[$0] < wanted[$1] }) {
            var cluster = Cluster(members: [index], width: widths[index], start: start([index], widths[index]))
            while let before = clusters.last, before.start + before.width + gap > cluster.start {
                clusters.removeLast()
                let members = before.members + cluster.members
                let width = before.width + gap + cluster.width
                cluster = Cluster(members: members, width: width, start: start(members, width))
            }
            clusters.append(cluster)
        }
        var centres = wanted
        for cluster in clusters {
            var left = cluster.start
            for member in cluster.members {
                centres[member] = left + widths[member] / 2
                left += widths[member] + gap
            }
        }
        return centres
    }
}
