import DistributedLocks
import Foundation
import Histogram

/// All rounds of one workload on one backend.
struct BenchResult: Codable, Equatable, Sendable {
    struct Rate: Codable, Equatable, Sendable {
        var median: Double
        var min: Double
        var max: Double
    }

    /// Without a password.
    var backend: String
    var workload: String
    var workers: Int
    /// Over how many processes the workers were spread; `nil` if they were tasks of one.
    var processes: Int?
    var cyclesPerSecond: Rate?
    var cycleMicroseconds: Percentiles?
    var waitMicroseconds: Percentiles?
    var handOverMicroseconds: Percentiles?
    var takeoverMicroseconds: Percentiles?
    /// Which part of the grants went past a waiter that had asked earlier.
    var outOfOrderShare: Double?
    /// The busiest worker's cycles divided by the least busy one's.
    var imbalance: Double?
    /// A string, because JavaScript's numbers lose digits above 2^53.
    var lastToken: String?
    var idle: IdleRound?
    var rounds: [RoundResult]
    /// Why a round could not be measured, and none after it was.
    var failure: String?

    init(backend: String, workload: Workload, processes: Int?, rounds: [RoundResult]) {
        self.backend = backend
        self.workload = workload.name
        self.workers = workload.workers
        self.processes = processes
        self.rounds = rounds
        let rates = rounds.compactMap(\.cyclesPerSecond)
        if let median = Statistics.median(rates), let min = rates.min(), let max = rates.max() {
            self.cyclesPerSecond = Rate(median: median, min: min, max: max)
        }
        self.cycleMicroseconds = Percentiles.ofRounds(rounds.compactMap(\.cycleMicroseconds))
        self.waitMicroseconds = Percentiles.ofRounds(rounds.compactMap(\.waitMicroseconds))
        self.handOverMicroseconds = Percentiles.ofRounds(rounds.compactMap(\.handOverMicroseconds))
        // Rounds have few of these, so they count together.
        let takeovers = rounds.compactMap(\.takeoverMicroseconds).joined()
        var histogram = TimeHistogram.ofTimes()
        for takeover in takeovers { histogram.record(UInt64(takeover * 1_000)) }
        self.takeoverMicroseconds = Percentiles(histogram)
        let outOfOrder = rounds.compactMap(\.outOfOrder)
        let cycles = rounds.map(\.cycles).reduce(0, +)
        if !outOfOrder.isEmpty, cycles > 0 {
            self.outOfOrderShare = Double(outOfOrder.reduce(0, +)) / Double(cycles)
        }
        self.imbalance = Statistics.median(rounds.compactMap(\.imbalance))
        self.lastToken = rounds.last?.lastToken
        self.idle = IdleRound.ofRounds(rounds.compactMap(\.idle))
    }
}

extension IdleRound {
    /// The median of each number; `nil` for no round.
    static func ofRounds(_ rounds: [IdleRound]) -> IdleRound? {
        func median(_ values: [Double]) -> Double { Statistics.median(values) ?? 0 }
        guard var result = rounds.last else { return nil }
        result.seconds = median(rounds.map(\.seconds))
        result.cpuSeconds = median(rounds.map(\.cpuSeconds))
        result.contextSwitches = Int(median(rounds.map { Double($0.contextSwitches) }))
        result.bytesPerWaiter = Statistics.median(rounds.compactMap(\.bytesPerWaiter))
        result.servingSeconds = median(rounds.map(\.servingSeconds))
        result.outOfOrder = Int(median(rounds.map { Double($0.outOfOrder) }))
        return result
    }
}

/// The output of `dlock bench`, for people and for scripts.
struct BenchReport: Codable, Equatable, Sendable {
    var rounds: Int
    var secondsPerRound: Double
    var leaseMilliseconds: Int64
    var processors: Int
    var results: [BenchResult]

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Tables, and a line that says what their numbers are.
    func text() -> String {
        [self.cycleTable, self.idleTable, [self.legend]]
            .filter { !$0.isEmpty }
            .map { $0.joined(separator: "\n") }
            .joined(separator: "\n\n")
    }

    private var legend: String {
        let each = self.rounds == 1 ? "One round" : "Medians of \(self.rounds) rounds"
        return Console.dim(
            "\(each) of \(Readable.threeDigits(self.secondsPerRound)) s on \(self.processors) processors; "
                + "the longest time (max) is that of all rounds."
        )
    }

    private var cycleTable: [String] {
        var table = TextTable([
            .text("BACKEND"), .text("WORKLOAD"), .text("TIME OF"), .number("PER SECOND"),
            .number("P50"), .number("P90"), .number("P99"), .number("P99.9"), .number("MAX"), .text("NOTES"),
        ])
        for result in self.results {
            for row in self.rows(of: result) { table.add(row) }
        }
        return table.rows.isEmpty ? [] : table.lines
    }

    /// The rows of a table, for each thing that was timed: backend, workload, what, rate, percentiles, notes. The first
    /// two are in the first row alone.
    func rows(of result: BenchResult) -> [[String]] {
        let workload = result.processes.map { "\(result.workload), \($0) processes" } ?? result.workload
        var names = [result.backend.harmless, workload]
        var rows: [[String]] = []
        func add(_ what: String, _ rate: String, _ times: Percentiles?, _ notes: String) {
            guard let times else { return }
            rows.append(names + [what, rate] + times.cells + [notes])
            names = ["", ""]
        }
        let rate = result.cyclesPerSecond.map { Readable.whole($0.median) } ?? ""
        let spread = result.cyclesPerSecond.map {
            self.rounds > 1 ? "\(Readable.whole($0.min)) to \(Readable.whole($0.max)) per second" : ""
        }
        add("cycle", rate, result.cycleMicroseconds, spread ?? "")
        add("wait", "", result.waitMicroseconds, result.fairnessNote)
        add("hand-over", "", result.handOverMicroseconds, "")
        let deaths = result.rounds.map(\.cycles).reduce(0, +)
        add("kill to grant", "", result.takeoverMicroseconds, "\(deaths) holders killed")
        return rows
    }

    private var idleTable: [String] {
        var table = TextTable([
            .text("BACKEND"), .text("WORKLOAD"), .number("CPU TIME"), .number("SWITCHES PER SECOND"),
            .number("MEMORY PER WAITER"), .number("ALL SERVED IN"), .number("OUT OF ORDER"),
        ])
        for result in self.results {
            if let row = self.idleRow(of: result) { table.add(row) }
        }
        return table.rows.isEmpty ? [] : table.lines
    }

    /// Backend, workload and what waiting cost; `nil` for other workloads.
    func idleRow(of result: BenchResult) -> [String]? {
        guard let idle = result.idle, idle.seconds > 0 else { return nil }
        return [
            result.backend.harmless, result.workload,
            "\(Readable.threeDigits(idle.cpuSeconds / idle.seconds * 100)) %",
            Readable.whole(Double(idle.contextSwitches) / idle.seconds),
            idle.bytesPerWaiter.map { "\(Readable.threeDigits($0 / 1_024)) KiB" } ?? "unknown",
            Readable.microseconds(idle.servingSeconds * 1e6),
            Readable.whole(Double(idle.outOfOrder)),
        ]
    }
}

extension Percentiles {
    fileprivate var cells: [String] {
        [self.p50, self.p90, self.p99, self.p999, self.max].map(Readable.microseconds)
    }
}

extension BenchResult {
    fileprivate var fairnessNote: String {
        var notes: [String] = []
        if let share = self.outOfOrderShare { notes.append("\(Readable.threeDigits(share * 100)) % out of order") }
        if let imbalance { notes.append("busiest worker \(Readable.threeDigits(imbalance)) × the least busy") }
        return notes.joined(separator: ", ")
    }
}
