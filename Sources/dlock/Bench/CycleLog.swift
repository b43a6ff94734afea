import Histogram

/// One cycle on a lock that many want, with instants of ``BenchClock``, which all processes of a host share.
struct LoggedCycle: Equatable, Sendable {
    /// The grant's fencing token.
    var token: Int64
    /// Before the call.
    var asked: UInt64
    /// The first step of the body.
    var entered: UInt64
    /// The last step of the body.
    var left: UInt64
    /// After the call.
    var done: UInt64
}

/// What a measurement found that a lock must never do.
struct Violation: Error, Equatable, CustomStringConvertible {
    let description: String
}

/// The cycles of all workers on one lock: the proof that they excluded each other, and how fairly they were served.
struct CycleLog {
    /// In the order of their tokens.
    let cycles: [LoggedCycle]

    /// Checks that every grant had a token of its own, and that grants in the order of their tokens followed each other
    /// in time without overlap. That is mutual exclusion and tokens that rise with every grant, in one.
    init(_ cycles: [LoggedCycle], name: String) throws(Violation) {
        self.cycles = cycles.sorted { $0.token < $1.token }
        for (before, after) in zip(self.cycles, self.cycles.dropFirst()) {
            if before.token == after.token {
                throw Violation(description: "the token \(after.token) of '\(name)' was given to two grants")
            }
            if after.entered < before.left {
                let what =
                    after.left <= before.entered
                    ? "a later grant of '\(name)' had the lower token: \(before.token) came after \(after.token)"
                    : "two held '\(name)' at the same time, with the tokens \(before.token) and \(after.token)"
                throw Violation(description: what)
            }
        }
    }

    /// How many grants went to a waiter although another one had asked earlier, by the clocks of those who asked: two that
    /// ask within microseconds of each other may reach the backend in the other order.
    var outOfOrder: Int {
        var count = 0
        var earliestLater = UInt64.max
        for cycle in self.cycles.reversed() {
            if cycle.asked > earliestLater { count += 1 }
            earliestLater = min(earliestLater, cycle.asked)
        }
        return count
    }

    /// From asking to being granted.
    var waits: TimeHistogram { self.histogram { $0.entered &- $0.asked } }

    /// From asking to the end of the call.
    var cycleTimes: TimeHistogram { self.histogram { $0.done &- $0.asked } }

    /// From the last step of one holder's body to the first step of the next one's, where that one had asked before: what
    /// a lock that is always wanted stands idle for.
    var handOvers: TimeHistogram {
        var histogram = TimeHistogram.ofTimes()
        for (before, after) in zip(self.cycles, self.cycles.dropFirst()) where after.asked <= before.left {
            histogram.record(after.entered &- before.left)
        }
        return histogram
    }

    private func histogram(_ time: (LoggedCycle) -> UInt64) -> TimeHistogram {
        var histogram = TimeHistogram.ofTimes()
        for cycle in self.cycles { histogram.record(time(cycle)) }
        return histogram
    }
}

extension LoggedCycle {
    private static let words = 5

    /// Cycles as bytes, for a pipe.
    static func encode(_ cycles: [LoggedCycle]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(cycles.count * Self.words * 8)
        for cycle in cycles {
            for word in [UInt64(bitPattern: cycle.token), cycle.asked, cycle.entered, cycle.left, cycle.done] {
                withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
            }
        }
        return bytes
    }

    /// `nil` if the bytes are no whole number of cycles.
    static func decode(_ bytes: [UInt8]) -> [LoggedCycle]? {
        let size = Self.words * 8
        guard bytes.count.isMultiple(of: size) else { return nil }
        return bytes.withUnsafeBytes { buffer in
            stride(from: 0, to: buffer.count, by: size).map { offset in
                func word(_ index: Int) -> UInt64 {
                    UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: offset + index * 8, as: UInt64.self))
                }
                return LoggedCycle(
                    token: Int64(bitPattern: word(0)), asked: word(1), entered: word(2), left: word(3), done: word(4))
            }
        }
    }
}
