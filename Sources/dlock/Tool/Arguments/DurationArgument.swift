import ArgumentParser

/// A duration on the command line: `500ms`, `10s`, `5m`, `1h`, or several of these together, as in `1m30s`.
struct DurationArgument: ExpressibleByArgument, Equatable {
    let duration: Duration

    init(_ duration: Duration) {
        self.duration = duration
    }

    init?(argument: String) {
        guard let duration = Self.parse(argument) else { return nil }
        self.duration = duration
    }

    var defaultValueDescription: String { self.duration.brief }

    static func parse(_ text: String) -> Duration? {
        let units: [(name: String, length: Duration)] = [
            ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3600)),
            ("d", .seconds(86_400)),
        ]
        var rest = Substring(text)
        var total: Duration = .zero
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let name = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(name.count)
            guard let value = Double(number), value.isFinite, value < 1e9,
                let unit = units.first(where: { $0.name == name })
            else { return nil }
            total += unit.length * value
        }
        return total
    }
}

extension Duration {
    /// For people: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`.
    var brief: String {
        let seconds = self / .seconds(1)
        if seconds < 0 { return "0 s" }
        if seconds < 1 { return "\(Int(seconds * 1000)) ms" }
        if seconds < 60 {
            let tenths = Int(seconds * 10)
            return seconds < 10 && tenths % 10 != 0 ? "\(tenths / 10).\(tenths % 10) s" : "\(Int(seconds)) s"
        }
        let whole = Int(seconds)
        if whole < 3600 { return whole % 60 == 0 ? "\(whole / 60) min" : "\(whole / 60) min \(whole % 60) s" }
        return whole % 3600 < 60 ? "\(whole / 3600) h" : "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
