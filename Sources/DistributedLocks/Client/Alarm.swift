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
        var sleeper: UnsafeContinuation<Void, Never>?
        /// When the sleeper is to be woken; `nil` if only by a poke.
        var wakeAt: Moment?
        /// When the keeper's thread calls next; `nil` if it does not.
        var calledAt: Moment?

        mutating func takeSleeper() -> UnsafeContinuation<Void, Never>? {
            defer {
                self.sleeper = nil
                self.wakeAt = nil
            }
            return self.sleeper
        }

        /// For when to ask for a call, if one that has been asked for does not come early enough.
        mutating func nextCall(now: Moment) -> Moment? {
            guard let wakeAt = self.wakeAt else { return nil }
            let call = min(wakeAt, now + Alarm.longestCall)
            if let calledAt = self.calledAt, calledAt <= call { return nil }
            self.calledAt = call
            return call
        }
    }

    /// The queue's clock stands still while the machine is suspended, so it is never trusted for longer than this.
    private static let longestCall: Duration = .seconds(1)

    /// `nil`: that of the environment.
    private let clock: (any LockClock)?
    private let environment: Environment
    private let state = Mutex(State())

    package init(_ environment: Environment) {
        self.clock = nil
        self.environment = environment
    }

    package init(clock: any LockClock, _ environment: Environment = .system) {
        self.clock = clock is SystemLockClock || clock is EnvironmentClock ? nil : clock
        self.environment = environment
    }

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
    package func sleep(until instant: ContinuousClock.Instant?) async {
        guard let instant, let clock = self.clock else { return await self.sleep(until: Moment(instant)) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await clock.sleep(until: instant) }
            group.addTask { await self.sleep(until: Moment?.none) }
            await group.next()
            group.cancelAll()
        }
    }

    private func sleep(until moment: Moment?) async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let now = self.now()
                let (isOver, call) = self.state.withLock { state -> (Bool, Moment?) in
                    if state.isPoked || Task.isCancelled {
                        state.isPoked = false
                        return (true, nil)
                    }
                    state.sleeper = continuation
                    state.wakeAt = moment
                    return (false, state.nextCall(now: now))
                }
                if let call { self.askForCall(at: call, now: now) }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { $0.takeSleeper() }?.resume()
        }
    }

    private func askForCall(at call: Moment, now: Moment) {
        // It keeps the alarm for as long: a weak reference would make every use of the alarm slower.
        self.environment.threads.keeper.call(after: call - now) { self.called(for: call) }
    }

    private func called(for call: Moment) {
        let now = self.now()
        let (sleeper, next) = self.state.withLock { state -> (UnsafeContinuation<Void, Never>?, Moment?) in
            // An earlier one may have taken its place.
            guard state.calledAt == call else { return (nil, nil) }
            state.calledAt = nil
            if let wakeAt = state.wakeAt, now >= wakeAt { return (state.takeSleeper(), nil) }
            return (nil, state.nextCall(now: now))
        }
        if let next { self.askForCall(at: next, now: now) }
        sleeper?.resume()
    }

    private func now() -> Moment { self.environment.moment }
}
