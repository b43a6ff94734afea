/// All that the page of a measurement shows, as a value.
struct BenchPage: Equatable, Sendable {
    /// One workload, on each backend.
    struct Group: Equatable, Sendable {
        let workload: Workload
        /// In the order of the subjects.
        let results: [BenchResult]
    }

    let subjects: [BenchSubject]
    let groups: [Group]
    let report: BenchReport
    let conditions: BenchConditions

    /// - Parameter report: Its results are those of all subjects, one workload after another (``BenchRun/results()``).
    init(report: BenchReport, workloads: [Workload], subjects: [BenchSubject], conditions: BenchConditions) {
        precondition(
            report.results.count == workloads.count * subjects.count, "each workload has a result on each backend")
        self.subjects = subjects
        self.report = report
        self.conditions = conditions
        self.groups = workloads.enumerated().map { index, workload in
            let start = index * subjects.count
            return Group(workload: workload, results: Array(report.results[start..<start + subjects.count]))
        }
    }

    /// What could not be measured, and why.
    var failures: [String] {
        self.groups.flatMap { group in
            group.results.enumerated().compactMap { slot, result in
                result.failure.map { "\(group.workload.name) on \(self.subjects[slot].name): \($0)" }
            }
        }
    }

    func label(_ slot: Int) -> PlotLabel {
        PlotLabel(name: self.subjects[slot].name, detail: self.subjects[slot].detail, slot: slot)
    }
}

/// Under which conditions was measured.
struct BenchConditions: Equatable, Sendable {
    /// `2026-11-30 05:12 UTC`.
    var date: String
    var host: String
    var processors: Int
    /// The model, where it is known.
    var processorModel: String?
    /// The kernel and its version.
    var system: String
    var dlockVersion: String
    /// False for a debug build, whose figures are no figures of this package.
    var isOptimised: Bool
    /// The mean number of processes that wanted to run in the minute before the measurement.
    var loadBefore: Double?
    /// Which part of the processors' time the host of this virtual machine gave to others meanwhile.
    var stolenShare: Double?
    /// What measures the same again. Without passwords.
    var command: String

    /// As rows of a table.
    var rows: [(name: String, value: String)] {
        var rows = [
            ("date", self.date), ("host", self.host),
            ("processors", "\(self.processors)" + (self.processorModel.map { ", \($0)" } ?? "")),
            ("system", self.system),
            ("dlock", self.dlockVersion + (self.isOptimised ? "" : ", built without optimisation (debug)")),
        ]
        if let loadBefore { rows.append(("load before", Readable.threeDigits(loadBefore))) }
        if let stolenShare {
            rows.append(("processor time taken by others", "\(Readable.threeDigits(stolenShare * 100)) %"))
        }
        return rows
    }
}
