package import NIOCore

/// One callback on an event loop, armed for an instant. Used on that loop only.
///
/// It may fire early: NIO counts on a clock that stops while the machine is suspended, so a timer is never armed further
/// ahead than a second, and whoever gets the call looks at `ContinuousClock` and arms it again if need be.
package final class EventLoopTimer {
    private struct Handler: NIOScheduledCallbackHandler, Sendable {
        let timer: NIOLoopBound<EventLoopTimer>

        func handleScheduledCallback(eventLoop: some EventLoop) {
            let timer = self.timer.value
            timer.scheduled = nil
            // Let go of it first: it may hold whoever holds the timer.
            exchange(&timer.fired, with: {})()
        }
    }

    private static let longest: Duration = .seconds(1)

    private let eventLoop: any EventLoop
    private var scheduled: NIOScheduledCallback?
    private var fired: () -> Void

    package init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.fired = {}
    }

    /// Takes the place of what was armed before.
    package func arm(_ instant: ContinuousClock.Instant, fired: @escaping () -> Void) {
        self.scheduled?.cancel()
        self.fired = fired
        let delay = min(max(ContinuousClock.now.duration(to: instant), .zero), Self.longest)
        // An event loop that has been shut down calls nobody; nothing is left to be timed then.
        self.scheduled = try? self.eventLoop.scheduleCallback(
            at: .now() + TimeAmount(delay),
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
