import DistributedLocks
import Foundation
import LockURLs

/// `test-agent --churn URL CLIENTS`: makes clients one after another, uses and ends them, and counts the open descriptors.
///
/// It writes `descriptors BEFORE AFTER`.
struct Churn {
    let clients: Int

    /// After so many all that a process keeps for good is there.
    private static let warmUp = 5

    func run(url: String) async throws {
        for _ in 0..<Self.warmUp { try await self.use(url) }
        let before = Self.descriptors()
        for _ in 0..<self.clients { try await self.use(url) }
        // What has to be closed on other threads may take a moment.
        let deadline = ContinuousClock.now + .seconds(10)
        while Self.descriptors() > before, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        TestAgent.say("descriptors \(before) \(Self.descriptors())")
    }

    private func use(_ url: String) async throws {
        try await withLockClient(url) { locks in
            try await locks.withLock("churn", lease: .seconds(10)) { _ in }
        }
    }

    private static func descriptors() -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? -1
    }
}
