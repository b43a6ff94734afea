import ArgumentParser
import DistributedLocks
import LockKernel

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
            guard let unit = units.first(where: { $0.name == name }), let part = Self.multiple(number, of: unit.length)
            else { return nil }
            total += part
        }
        return total
    }

    /// Without the detour by binary fractions, which are not exact.
    private static func multiple(_ number: Substring, of unit: Duration) -> Duration? {
        let parts = number.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let fraction = (parts.count == 2 ? parts[1] : "").prefix(9)
        guard let whole = parts.first, !whole.isEmpty || !fraction.isEmpty, !fraction.contains("."),
            let count = whole.isEmpty ? 0 : Int(whole), count < 1_000_000_000,
            let numerator = fraction.isEmpty ? 0 : Int(fraction)
        else { return nil }
        let denominator = fraction.reduce(1) { power, _ in power * 10 }
        return unit * count + unit * numerator / denominator
    }
}
