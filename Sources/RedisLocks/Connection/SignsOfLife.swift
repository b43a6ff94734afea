import LockKernel

/// How long an answer has taken lately, at most: by this it is told whether a silence means anything.
///
/// What is measured lets go by an eighth with each answer. It is done for every batch that arrives, so it shifts and never
/// divides.
struct RoundTrip: Sendable {
    // No Int128 is stored: see BootInstant.
    private(set) var duration = Duration.zero

    /// Something has arrived, so long after what is waited for was sent.
    mutating func measured(_ duration: Duration) {
        let known = self.duration.attoseconds
        self.duration = Duration(attoseconds: max(duration.attoseconds, known - known >> 3))
    }

    /// In about nanoseconds, for those on other threads.
    var compact: Int64 { Int64(truncatingIfNeeded: self.duration.attoseconds >> 30) }

    init() {}

    init(compact: Int64) { self.duration = Duration(attoseconds: Int128(compact) << 30) }

    /// The shortest silence that means something.
    var shortestSilence: Duration { Duration(attoseconds: self.duration.attoseconds * 3) }
}

/// What is heard on a connection, and how long a silence on it has lasted.
struct SignsOfLife: Sendable {
    typealias Instant = BootInstant

    /// After this the connection is given up in any case.
    let timeout: Duration
    /// When something arrived last, or the first of the requests that are out was sent, whichever is later.
    private(set) var last: Instant
    private(set) var roundTrip = RoundTrip()

    init(timeout: Duration, now: Instant) {
        self.timeout = timeout
        self.last = now
    }

    /// A request was sent, and it is the only one.
    mutating func firstSent(now: Instant) { self.last = max(self.last, now) }

    /// Bytes have arrived, whatever they are.
    ///
    /// - Parameter asked: when the oldest question was sent that is out.
    mutating func heard(now: Instant, asked: Instant?) {
        if let asked { self.roundTrip.measured(now - asked) }
        if now > self.last { self.last = now }
    }

    /// When the silence has lasted too long.
    var end: Instant { self.last + self.timeout }

    /// How long it has lasted, if that is so long, and means something.
    func silence(ofAtLeast duration: Duration, now: Instant) -> Duration? {
        let silence = now - self.last
        return silence >= max(duration, self.roundTrip.shortestSilence) ? silence : nil
    }
}
