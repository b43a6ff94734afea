import DistributedLocks
import LockKernel

/// What the instances' clocks say, in ticks of 16 µs since 2025: the unit of tokens.
///
/// Each answer that tells a server's time gives the difference to this process's boot clock. A token is proposed by the median
/// of the clocks, so that one wild clock moves nothing. The estimate errs towards later, by what the answer took, because a
/// token that is a little ahead does no harm and one that is behind costs a round.
struct ServerTimes: Sendable {
    typealias Instant = BootInstant

    static let ticksPerMillisecond = 62.5

    private let origin: Instant
    private var offsets: [Int64?]
    /// Of the offsets: asked for with each lock, and seldom another one.
    private var median: Int64?

    init(count: Int, origin: Instant) {
        self.origin = origin
        self.offsets = Array(repeating: nil, count: count)
    }

    mutating func told(_ ticks: Int64, by instance: Int, sentAt: Instant) {
        let (offset, overflow) = ticks.subtractingReportingOverflow(self.ticks(at: sentAt))
        self.offsets[instance] = overflow ? nil : offset
        let known = self.offsets.compactMap { $0 }.sorted()
        self.median = known.isEmpty ? nil : known[(known.count - 1) / 2]
    }

    /// The median of the clocks; `nil` if none has told its time.
    func estimate(now: Instant) -> Int64? {
        self.median?.addingReportingOverflow(self.ticks(at: now)).partialValue
    }

    private func ticks(at instant: Instant) -> Int64 {
        Int64(clamping: self.origin.duration(to: instant).attoseconds / 16_000_000_000_000)
    }
}

extension Duration {
    /// In the unit of tokens.
    var ticks: Int64 { Int64(clamping: self.attoseconds / 16_000_000_000_000) }
}
