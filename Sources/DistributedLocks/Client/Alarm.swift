package import LockKernel
import Synchronization

/// Lets one task sleep until an instant that others may bring forward.
///
/// By the machine's own clock nothing on the way to the end of a sleep needs the threads that run everybody's tasks: the call
/// comes on the keeper's thread, and a task that prefers that one goes on there. Another clock wakes in its own way.
package final class Alarm: Sendable {
    private struct State {
        var isPoked = false
        /// Resumed once: by whoever takes it out, under the mutex.
        var sleeper: WaitContinuation<Void>?
        /// When the sleeper is to be woken; `nil` if only by a poke.
        var wakeAt: BootInstant?
        /// When the keeper's thread calls next; `nil` if it does not.
        var calledAt: BootInstant?

        mutating func takeSleeper() -> WaitContinuation<Void>? {
            defer {
                self.sleeper = nil
                self.wakeAt = nil
            }
            return self.sleeper
        }

        /// For when to ask for a call, if one that has been asked for does not come early enough.
        mutating func nextCall(now: BootInstant) -> BootInstant? {
            guard let wakeAt = self.wakeAt else { return nil }
            let call = min(wakeAt, now + Alarm.longestCall)
            if let calledAt = self.calledAt, calledAt <= call { return nil }
            self.calledAt = call
            return call
        }
    }

    /// The queue's clock stands still while the machine is suspended, so it is never trusted for longer than this.
    private static let longestCall: Duration = .seconds(1)

    private let time: ClientTime
    private let state = Mutex(State())

    init(_ time: ClientTime) {
        self.time = time
    }

    package convenience init(_ environment: Environment) { self.init(ClientTime(SystemLockClock(), environment)) }

    package convenience init(clock: any LockClock) { self.init(ClientTime(clock, .system)) }

    /// Ends the sleep that is under way, or the next one.
    package func poke() {
        let sleeper = self.state.withLock { state in
            let sleeper = state.takeSleeper()
            state.isPoked = sleeper == nil
            return sleeper
        }
        sleeper?.resume()
    }

    /// Sleeps until an instant (`nil`: without end), until poked, or until the task is cancelled.
    package func sleep(until instant: BootInstant?) async {
        guard let instant, !self.time.isOfEnvironment else { return await self.sleepHere(until: instant) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.time.sleep(until: instant) }
            group.addTask { await self.sleepHere(until: nil) }
            await group.next()
            group.cancelAll()
        }
    }

    private func sleepHere(until instant: BootInstant?) async {
        await withWaitContinuation(givingUp: { self.state.withLock { $0.takeSleeper() }?.resume() }) { continuation in
            let now = self.now()
            let (isOver, call) = self.state.withLock { state -> (Bool, BootInstant?) in
                if state.isPoked {
                    state.isPoked = false
                    return (true, nil)
                }
                state.sleeper = continuation
                state.wakeAt = instant
                return (false, state.nextCall(now: now))
            }
            if let call { self.askForCall(at: call, now: now) }
            if isOver { continuation.resume() }
        }
    }

    private func askForCall(at call: BootInstant, now: BootInstant) {
        // It keeps the alarm for as long: a weak reference would make every use of the alarm slower.
        self.time.environment.threads.keeper.call(after: call - now) { self.called(for: call) }
    }

    private func called(for call: BootInstant) {
        let now = self.now()
        let (sleeper, next) = self.state.withLock { state -> (WaitContinuation<Void>?, BootInstant?) in
            // An earlier one may have taken its place.
            guard state.calledAt == call else { return (nil, nil) }
            state.calledAt = nil
            if let wakeAt = state.wakeAt, now >= wakeAt { return (state.takeSleeper(), nil) }
            return (nil, state.nextCall(now: now))
        }
        if let next { self.askForCall(at: next, now: now) }
        sleeper?.resume()
    }

    private func now() -> BootInstant { self.time.environment.now }
}
