extension Readable {
    /// Round numbers at an axis: `0`, `0.05`, `500`, `20,000`.
    static func tick(_ value: Double) -> String {
        if value == 0 { return "0" }
        if value >= 1, value == value.rounded() { return Self.whole(value) }
        // A step of 1, 2 or 5 has one digit, or two if there is something before the point.
        var text = "\((value * 1e6).rounded() / 1e6)"
        if text.hasSuffix(".0") { text.removeLast(2) }
        return text
    }

    /// Round times at an axis: `50 µs`, `2 ms`, `10 s`.
    static func timeTick(_ microseconds: Double) -> String {
        if microseconds < 1_000 { return "\(Self.tick(microseconds)) µs" }
        if microseconds < 1_000_000 { return "\(Self.tick(microseconds / 1_000)) ms" }
        return "\(Self.tick(microseconds / 1_000_000)) s"
    }

    /// How many times as much: `1.3`, `6.6`, `33`.
    static func factor(_ value: Double) -> String {
        value < 9.95 ? Self.oneDecimal(value) : Self.whole(value)
    }

    private static func oneDecimal(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `a`, `a and b`, `a, b and c`.
    static func list(_ items: [String]) -> String {
        guard let last = items.last, items.count > 1 else { return items.first ?? "" }
        return items.dropLast().joined(separator: ", ") + " and " + last
    }
}
