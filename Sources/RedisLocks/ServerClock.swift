import LockKernel

/// Notices when a server's wall clock was stepped.
///
/// Redis measures leases by its wall clock: a step forward ends them early (which holders are told by their next
/// renewal), a step back makes them last longer, so that a dead holder blocks others for longer. Neither can be prevented
/// from here. It can be seen: each answer with the server's time bounds the offset of the two clocks, and the bounds of
/// two answers overlap unless a clock was stepped.
struct ServerClock: Sendable {
    private struct Bounds {
        /// Server time less boot time.
        var low: Duration
        var high: Duration
        var seenAt: BootInstant
    }

    private var bounds: Bounds?
    private let origin: BootInstant

    /// What clocks are allowed to drift apart by, beside 1 % of the time between two answers.
    static let allowance = Duration.milliseconds(50)

    init(origin: BootInstant) {
        self.origin = origin
    }

    /// An answer with the server's time arrived. Returns by how much the clock was stepped, if it was.
    mutating func answered(
        serverMilliseconds: Int64,
        sentAt: BootInstant,
        receivedAt: BootInstant
    ) -> Duration? {
        let server = Duration.milliseconds(serverMilliseconds)
        let new = Bounds(
            low: server - (receivedAt - self.origin),
            // The server counts whole milliseconds.
            high: server + .milliseconds(1) - (sentAt - self.origin),
            seenAt: receivedAt
        )
        defer { self.bounds = new }
        guard let old = self.bounds else { return nil }
        let allowance = Self.allowance + max(receivedAt - old.seenAt, .zero) / 100
        if new.low > old.high + allowance { return new.low - old.high }
        if new.high < old.low - allowance { return new.high - old.low }
        return nil
    }
}
