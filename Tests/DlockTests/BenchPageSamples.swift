import DistributedLocks

@testable import dlock

/// Pages of figures that a test makes up.
enum BenchPageSamples {
    /// What was measured on one backend.
    struct Sample {
        var url: String
        /// The cycles a second of each round, by workload.
        var rates: [Workload.Kind: [Double]] = [:]
        var takeoverMicroseconds: Double?
        var warnings: [String] = []
        var failure: String?
    }

    static let conditions = BenchConditions(
        date: "2026-11-30 05:12 UTC", host: "db1", processors: 8, processorModel: "CPU", system: "Linux 6",
        dlockVersion: "0.1.0", isOptimised: true, loadBefore: 0.1, stolenShare: 0, command: "dlock bench"
    )

    static func page(
        _ samples: [Sample],
        conditions: BenchConditions = Self.conditions,
        secondsPerRound: Double = 1
    ) throws -> BenchPage {
        var subjects = BenchSubject.named(try samples.map { try LockURL($0.url) })
        for (index, sample) in samples.enumerated() { subjects[index].warnings = sample.warnings }
        let kinds: [Workload.Kind] = [.seq, .wide, .hot].filter { kind in samples.contains { $0.rates[kind] != nil } }
        var workloads = kinds.map { Workload($0, workers: $0.defaultWorkers) }
        if samples.contains(where: { $0.takeoverMicroseconds != nil }) {
            workloads.append(Workload(.crash, workers: 1))
        }
        let results = workloads.flatMap { workload in
            samples.map { sample -> BenchResult in
                var rounds = (sample.rates[workload.kind] ?? []).map {
                    RoundResult(
                        cycles: Int($0), cyclesPerSecond: $0,
                        cycleMicroseconds: Percentiles(
                            p50: 1e6 / $0, p90: 2e6 / $0, p99: 3e6 / $0, p999: 4e6 / $0, max: 9e6 / $0)
                    )
                }
                if workload.kind == .crash, let time = sample.takeoverMicroseconds {
                    rounds = [RoundResult(cycles: 1, takeoverMicroseconds: [time])]
                }
                var result = BenchResult(backend: sample.url, workload: workload, processes: nil, rounds: rounds)
                result.failure = workload.kind == .seq ? sample.failure : nil
                return result
            }
        }
        return BenchPage(
            report: BenchReport(
                rounds: samples.flatMap(\.rates.values).map(\.count).max() ?? 1, secondsPerRound: secondsPerRound,
                leaseMilliseconds: 10_000, processors: 8, results: results),
            workloads: workloads, subjects: subjects, conditions: conditions
        )
    }

    /// Three rounds that agree with each other.
    static func rounds(_ rate: Double) -> [Double] { [rate * 0.98, rate, rate * 1.02] }

    static let embedded = Sample(
        url: "embedded:", rates: [.seq: rounds(28_000), .wide: rounds(30_000), .hot: rounds(2_500)],
        takeoverMicroseconds: 2_000)
    static let redis = Sample(
        url: "redis://db1", rates: [.seq: rounds(8_000), .wide: rounds(55_000), .hot: rounds(3_400)],
        takeoverMicroseconds: 9_900_000)
    static let sentinel = Sample(
        url: "redis+sentinel://s1,s2,s3/m", rates: [.seq: rounds(7_800), .wide: rounds(54_000), .hot: rounds(3_300)])
    static let redlock = Sample(
        url: "redlock://r1,r2,r3", rates: [.seq: rounds(4_000), .wide: rounds(18_000), .hot: rounds(1_500)])
    static let zookeeper = Sample(
        url: "zookeeper://z1,z2,z3/bench", rates: [.seq: rounds(900), .wide: rounds(6_100), .hot: rounds(650)])
    static let oneZooKeeper = Sample(
        url: "zookeeper://z1", rates: [.seq: rounds(950), .wide: rounds(8_200), .hot: rounds(660)])
}
