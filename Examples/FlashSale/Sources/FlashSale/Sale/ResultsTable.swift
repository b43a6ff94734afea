/// The table at the end.
enum ResultsTable {
    static func lines(_ outcomes: [Sale.Outcome]) -> [String] {
        let header = [
            "sellers use", "sold", "oversold", "refused by the fence", "stopped", "killed", "deadlocked", "seconds",
        ]
        let rows = outcomes.map { outcome in
            let tenths = Int((outcome.seconds * 10).rounded())
            return [
                outcome.mode, "\(outcome.sold)", "\(outcome.oversold)", "\(outcome.refused)", "\(outcome.stopped)",
                "\(outcome.killed)", outcome.isDeadlocked ? "yes" : "no", "\(tenths / 10).\(tenths % 10)",
            ]
        }
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return column == 0 ? row[column] + padding : padding + row[column]
            }.joined(separator: "  ")
        }
    }
}
