import DistributedLocks
import Foundation
import LockURLs

/// `test-agent --load URL NAMES LEASE-MS`: takes and gives back locks all the time, from several tasks, until its
/// standard input ends.
///
/// It writes a line for each grant when it is over, with the times of the request and of the body in nanoseconds of the boot clock:
/// `grant NAME REQUESTED BEGUN ENDED TOKEN released|lost`; and `error CODE` for each call that failed otherwise.
struct Load {
    let names: Int
    let lease: Duration

    private static let tasks = 4

    func run(url: String) async throws {
        try await withLockClient(url) { locks in
            await withDiscardingTaskGroup { group in
                for task in 0..<Self.tasks { group.addTask { await self.work(locks, isPatient: task % 2 == 0) } }
            }
        }
    }

    /// Half of the tasks wait for a lock that is held, the others do not.
    private func work(_ locks: LockClient, isPatient: Bool) async {
        while !TestAgent.inputHasEnded() {
            let name = "load \(Int.random(in: 0..<self.names))"
            let requested = Self.now()
            var grant: (at: Int64, ended: Int64, token: FencingToken)?
            func body(_ held: borrowing HeldLock) async {
                let at = Self.now()
                try? await Task.sleep(for: .milliseconds(Int.random(in: 0...4)))
                grant = (at, Self.now(), held.token)
            }
            var end: String?
            do {
                if isPatient {
                    try await locks.withLock(name, lease: self.lease, waitingAtMost: .seconds(30)) { held in
                        await body(held)
                    }
                    end = "released"
                } else if try await locks.withLockIfAvailable(
                    name, lease: self.lease, body: { held in await body(held) })
                    != nil
                {
                    end = "released"
                }
            } catch let error as LockError where error.code == .lost {
                end = "lost"
            } catch let error as LockError {
                TestAgent.say("error \(error.code) \(error.message)")
            } catch {
                TestAgent.say("error \(error)")
            }
            if let grant, let end {
                let word = name.replacing(" ", with: "-")
                TestAgent.say("grant \(word) \(requested) \(grant.at) \(grant.ended) \(grant.token) \(end)")
            } else {
                // Nobody is to turn without a pause because somebody else holds the lock.
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    private static func now() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}
