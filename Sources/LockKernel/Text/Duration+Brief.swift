extension Duration {
    /// For people: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `40 d`.
    package var brief: String {
        let seconds = self / .seconds(1)
        if seconds < 0 { return "0 s" }
        if seconds < 1 { return "\(Int(seconds * 1000)) ms" }
        if seconds < 60 {
            let tenths = Int(seconds * 10)
            return seconds < 10 && tenths % 10 != 0 ? "\(tenths / 10).\(tenths % 10) s" : "\(Int(seconds)) s"
        }
        let whole = self.components.seconds
        if whole < 3_600 { return Self.text(whole / 60, "min", whole % 60, "s") }
        if whole < 172_800 { return Self.text(whole / 3_600, "h", whole % 3_600 / 60, "min") }
        return Self.text(whole / 86_400, "d", whole % 86_400 / 3_600, "h")
    }

    private static func text(_ large: Int64, _ unit: String, _ small: Int64, _ smallUnit: String) -> String {
        small == 0 ? "\(large) \(unit)" : "\(large) \(unit) \(small) \(smallUnit)"
    }
}
