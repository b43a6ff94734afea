package import LockKernel
package import NIOCore

/// One callback on an event loop, armed for an instant. Used on that loop only.
///
/// It never fires before that instant of `ContinuousClock`. NIO counts on a clock that stops while the machine is suspended, so
/// it is asked for no more than a second ahead, and asked again until the instant has come.
package final class EventLoopTimer {
    private struct Handler: NIOScheduledCallbackHandler, Sendable {
        let timer: NIOLoopBound<EventLoopTimer>

        func handleScheduledCallback(eventLoop: some EventLoop) {
            self.timer.value.called()
        }
    }

    private static let longest: Duration = .seconds(1)

    private let eventLoop: any EventLoop
    private let environment: Environment
    private var scheduled: NIOScheduledCallback?
    private var instant: BootInstant
    private var fired: () -> Void

    package init(eventLoop: any EventLoop, environment: Environment) {
        self.eventLoop = eventLoop
        self.environment = environment
        self.instant = environment.now
        self.fired = {}
    }

    /// Takes the place of what was armed before.
    package func arm(_ instant: BootInstant, fired: @escaping () -> Void) {
        self.scheduled?.cancel()
        self.instant = instant
        self.fired = fired
        self.schedule()
    }

    private func called() {
        self.scheduled = nil
        guard self.environment.now >= self.instant else { return self.schedule() }
        // Let go of it first: it may hold whoever holds the timer.
        exchange(&self.fired, with: {})()
    }

    private func schedule() {
        let delay = min(max(self.environment.now.duration(to: self.instant), .zero), Self.longest)
        // An event loop that has been shut down calls nobody; nothing is left to be timed then.
        self.scheduled = try? self.eventLoop.scheduleCallback(
            at: self.eventLoop.now + TimeAmount(delay),
            handler: Handler(timer: NIOLoopBound(self, eventLoop: self.eventLoop))
        )
    }

    package func cancel() {
        self.scheduled?.cancel()
        self.scheduled = nil
        self.fired = {}
    }
}

/// Puts a new value in place of an old one, which is returned.
package func exchange<Value>(_ value: inout Value, with new: consuming Value) -> Value {
    let old = value
    value = new
    return old
}
