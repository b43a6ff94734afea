package import LockKernel

/// A connection that is being made, and that nothing has been heard on.
package enum Silence {
    /// What is known of it, for a message.
    ///
    /// - Parameters:
    ///   - accepted: since when there is a connection; nil: there is none yet.
    ///   - started: when the attempt began.
    ///   - request: what was asked and not answered.
    package static func reason(
        accepted: BootInstant?, started: BootInstant, now: BootInstant,
        request: String
    ) -> String {
        guard let accepted else { return "no connection within \(started.duration(to: now).brief)" }
        return Self.reason(request: request, for: accepted.duration(to: now))
    }

    package static func reason(request: String, for duration: Duration) -> String {
        "the server accepted the connection but did not answer \(request) within \(duration.brief)"
    }
}
