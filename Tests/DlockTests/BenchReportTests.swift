import Foundation
import Testing

@testable import dlock

@Suite struct BenchReportTests {
    private let times = Percentiles(p50: 100, p90: 200, p99: 1_250, p999: 12_300, max: 1_500_000)

    private func report(_ results: [BenchResult]) -> BenchReport {
        BenchReport(rounds: 2, secondsPerRound: 1, leaseMilliseconds: 10_000, processors: 2, results: results)
    }

    private var hot: BenchResult {
        let rounds = [1_000.0, 3_000].map { rate in
            RoundResult(
                cycles: 500,
                cyclesPerSecond: rate,
                cycleMicroseconds: self.times,
                waitMicroseconds: self.times,
                outOfOrder: 5,
                imbalance: 1.5,
                lastToken: "9007199254740993"
            )
        }
        return BenchResult(
            backend: "embedded:", workload: Workload(.hot, workers: 16), processes: 4, rounds: rounds)
    }

    @Test func `columns are as wide as their widest cell, with numbers at the right`() {
        var table = TextTable([.text("NAME"), .number("N"), .text("NOTES")])
        table.add(["a", "1", ""])
        table.add(["long name", "1,000", "x"])
        #expect(
            table.lines == [
                "NAME           N  NOTES",
                "a              1",
                "long name  1,000  x",
            ]
        )
    }

    @Test func `a workload's rows are its cycles and its waits`() {
        let lines = self.report([self.hot]).text().split(separator: "\n").map(String.init)
        #expect(lines.count == 4)
        let start = "embedded:  hot-16, 4 processes  cycle         2,000  100 µs  200 µs  1.25 ms  12.3 ms  1.50 s"
        #expect(lines[1].hasPrefix(start))
        #expect(lines[1].hasSuffix("1,000 to 3,000 per second"))
        #expect(lines[2].contains("wait"))
        #expect(lines[2].hasSuffix("1.00 % out of order, busiest worker 1.50 × the least busy"))
        #expect(lines[3].contains("Medians of 2 rounds of 1.00 s on 2 processors"))
    }

    @Test func `waiters in rest have a table of their own`() {
        let idle = IdleRound(
            waiters: 1_000, seconds: 2, cpuSeconds: 0.02, contextSwitches: 10, bytesPerWaiter: 10_240,
            servingSeconds: 0.25, outOfOrder: 3, lastToken: "7")
        let result = BenchResult(
            backend: "embedded:",
            workload: Workload(.idle, workers: 1_000),
            processes: nil,
            rounds: [RoundResult(cycles: 1_000, idle: idle)]
        )
        let lines = self.report([result]).text().split(separator: "\n").map(String.init)
        #expect(lines[0].hasPrefix("BACKEND    WORKLOAD   CPU TIME"))
        let cells = lines[1].split(separator: "  ").map { $0.drop { $0 == " " } }
        #expect(cells == ["embedded:", "idle-1000", "1.00 %", "5", "10.0 KiB", "250 ms", "3"])
    }

    @Test func `the takeovers of all rounds count together`() throws {
        let rounds = [[1_000.0, 2_000], [3_000]].map { RoundResult(cycles: $0.count, takeoverMicroseconds: $0) }
        let result = BenchResult(
            backend: "embedded:", workload: Workload(.crash, workers: 1), processes: nil, rounds: rounds)
        #expect(abs(try #require(result.takeoverMicroseconds).p50 - 2_000) < 2)
        #expect(self.report([result]).text().contains("3 holders killed"))
    }

    @Test func `JSON has times as numbers and tokens as strings`() throws {
        let text = try self.report([self.hot]).json()
        let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let result = try #require((object["results"] as? [[String: Any]])?.first)
        #expect(result["workload"] as? String == "hot-16")
        #expect(result["lastToken"] as? String == "9007199254740993")
        #expect((result["waitMicroseconds"] as? [String: Any])?["p99"] as? Double == 1_250)
        #expect((result["cyclesPerSecond"] as? [String: Any])?["median"] as? Double == 2_000)
        #expect(result["outOfOrderShare"] as? Double == 0.01)
        #expect(try JSONDecoder().decode(BenchReport.self, from: Data(text.utf8)).results == [self.hot])
    }

    @Test(arguments: [
        (0.0, "0.00 µs"), (8.5, "8.50 µs"), (99.96, "100 µs"), (999.4, "999 µs"), (999.6, "1.00 ms"),
        (12_345, "12.3 ms"), (999_499, "999 ms"), (999_501, "1.00 s"),
        (61_000_000, "61.0 s"), (3_600_000_000, "3,600 s"),
    ])
    func `times are shown with three digits`(microseconds: Double, text: String) {
        #expect(Readable.microseconds(microseconds) == text)
    }

    @Test(arguments: [(0.0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567.4, "1,234,567"), (-1_234, "-1,234")])
    func `whole numbers have commas`(value: Double, text: String) {
        #expect(Readable.whole(value) == text)
    }
}
