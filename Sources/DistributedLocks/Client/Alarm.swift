import Synchronization

/// Lets one task sleep until an instant that others may bring forward.
package final class Alarm: Sendable {
    private struct State {
        var isPoked = false
        var sleeper: CheckedContinuation<Void, Never>?
    }

    private let clock: any LockClock
    private let state = Mutex(State())

    package init(clock: any LockClock) {
        self.clock = clock
    }

    /// Ends the sleep that is under way, or the next one.
    package func poke() {
        let sleeper = self.state.withLock { state in
            defer { state.sleeper = nil }
            state.isPoked = state.sleeper == nil
            return state.sleeper
        }
        sleeper?.resume()
    }

    /// Sleeps until an instant (`nil`: without end), or until poked.
    package func sleep(until instant: ContinuousClock.Instant?) async {
        await withTaskGroup(of: Void.self) { group in
            if let instant {
                group.addTask { [clock] in try? await clock.sleep(until: instant) }
            }
            group.addTask { await self.poked() }
            await group.next()
            group.cancelAll()
        }
    }

    private func poked() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = self.state.withLock { state in
                    if state.isPoked || Task.isCancelled {
                        state.isPoked = false
                        return true
                    }
                    state.sleeper = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { state in
                defer { state.sleeper = nil }
                return state.sleeper
            }?.resume()
        }
    }
}
