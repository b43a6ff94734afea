import DistributedLocks
import LockURLs

/// `test-agent --beat URL LEASE-MS`: takes and gives back locks on the main actor all the time, and keeps one lock
/// besides, until its standard input ends.
///
/// It writes `cycles COUNT` now and then, and at the end `stall MS`, the longest time in which nothing else could run on
/// the main actor, and `late MS`, how long after the end of its validity the kept lock was told lost, at most.
struct Beat {
    let lease: Duration

    func run(url: String) async throws {
        let clock = ContinuousClock()
        let (stall, late) = try await withLockClient(url) { locks in
            async let stall = Self.beat(clock)
            async let late = self.keep(locks, clock)
            await Self.cycle(locks)
            return await (stall, late)
        }
        TestAgent.say("stall \(Int(stall / .milliseconds(1)))")
        TestAgent.say("late \(Int(late / .milliseconds(1)))")
    }

    @MainActor private static func cycle(_ locks: LockClient) async {
        var count = 0
        while !TestAgent.inputHasEnded() {
            try? await locks.withLock("cycle") { _ in }
            count += 1
            if count.isMultiple(of: 100) { TestAgent.say("cycles \(count)") }
            await Task.yield()
        }
    }

    @MainActor private static func beat(_ clock: ContinuousClock) async -> Duration {
        var longest: Duration = .zero
        var last = clock.now
        while !TestAgent.inputHasEnded() {
            try? await Task.sleep(for: .milliseconds(5))
            let now = clock.now
            longest = max(longest, now - last)
            last = now
        }
        return longest
    }

    @concurrent private func keep(_ locks: LockClient, _ clock: ContinuousClock) async -> Duration {
        var latest: Duration = .zero
        while !TestAgent.inputHasEnded() {
            guard let handle = try? await locks.acquire("kept", lease: self.lease) else { continue }
            let acquiredAt = clock.now
            let toldAt: ContinuousClock.Instant? = await withTaskGroup(of: ContinuousClock.Instant?.self) { group in
                group.addTask { (try? await handle.lost()) == nil ? nil : clock.now }
                group.addTask {
                    while !TestAgent.inputHasEnded() && !Task.isCancelled {
                        try? await Task.sleep(for: .milliseconds(20))
                    }
                    return nil
                }
                defer { group.cancelAll() }
                return await group.next() ?? nil
            }
            if let toldAt { latest = max(latest, toldAt - max(handle.validUntil, acquiredAt)) }
            try? await handle.release()
        }
        return latest
    }
}
