/// Columns of text under headers, aligned.
struct TextTable {
    struct Column {
        let title: String
        let isNumber: Bool

        static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
        static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
    }

    let columns: [Column]
    private(set) var rows: [[String]] = []

    init(_ columns: [Column]) {
        self.columns = columns
    }

    mutating func add(_ row: [String]) {
        precondition(row.count == self.columns.count, "a row has as many cells as there are columns")
        self.rows.append(row)
    }

    /// The lines, the headers first, with no spaces at their ends. Numbers stand at the right of their columns.
    var lines: [String] {
        let all = [self.columns.map(\.title)] + self.rows
        let widths = self.columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.indices.map { column -> String in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return self.columns[column].isNumber ? padding + row[column] : row[column] + padding
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}

/// Numbers for people.
enum Readable {
    /// `850 µs`, `1.25 ms`, `12.3 s`: three digits.
    static func microseconds(_ value: Double) -> String {
        // 999.6 is 1000 when it is rounded.
        if value < 999.5 { return "\(Self.threeDigits(value)) µs" }
        if value < 999_500 { return "\(Self.threeDigits(value / 1_000)) ms" }
        return "\(Self.threeDigits(value / 1_000_000)) s"
    }

    /// `12,345`.
    static func whole(_ value: Double) -> String {
        let digits = String(Int(value.rounded()))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, digit != "-", (digits.count - index).isMultiple(of: 3), text != "-" { text += "," }
            text.append(digit)
        }
        return text
    }

    /// `0.12`, `1.23`, `12.3`, `123`.
    static func threeDigits(_ value: Double) -> String {
        switch value.magnitude {
        case ..<9.995: Self.rounded(value, places: 2)
        case ..<99.95: Self.rounded(value, places: 1)
        default: Self.whole(value)
        }
    }

    private static func rounded(_ value: Double, places: Int) -> String {
        let factor = places == 1 ? 10.0 : 100.0
        let scaled = Int((value * factor).rounded())
        let digits = String(scaled.magnitude)
        let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
        return (scaled < 0 ? "-" : "") + padded.dropLast(places) + "." + padded.suffix(places)
    }
}
