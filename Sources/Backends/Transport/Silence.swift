/// A connection that is being made, and that nothing has been heard on.
package enum Silence {
    /// What is known of it, for a message.
    ///
    /// - Parameters:
    ///   - accepted: since when there is a connection; nil: there is none yet.
    ///   - started: when the attempt began.
    ///   - request: what was asked and not answered.
    package static func reason(
        accepted: ContinuousClock.Instant?, started: ContinuousClock.Instant, now: ContinuousClock.Instant,
        request: String
    ) -> String {
        guard let accepted else { return "no connection within \(started.duration(to: now).short)" }
        return Self.reason(request: request, for: accepted.duration(to: now))
    }

    package static func reason(request: String, for duration: Duration) -> String {
        "the server accepted the connection but did not answer \(request) within \(duration.short)"
    }
}

extension Duration {
    /// For people: `4.7 s`, `20 ms`.
    package var short: String {
        let (seconds, attoseconds) = self.components
        let milliseconds = attoseconds / 1_000_000_000_000_000
        if seconds == 0, milliseconds < 100 { return "\(milliseconds) ms" }
        let tenths = milliseconds / 100
        return tenths == 0 ? "\(seconds) s" : "\(seconds).\(tenths) s"
    }
}
