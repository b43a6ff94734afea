import LockKernel

/// Decides whether a client takes calls, and when it has nothing left to do.
///
/// States: *new* (calls wait for it to run), *running*, *stopping* (nothing new is begun, what is held is given back), *ended*.
/// `Waiter` is who waits for the start.
struct ClientLifecycle<Waiter: Sendable>: Sendable {
    /// What a new call finds.
    enum Start: Sendable, Equatable {
        case running
        case ended
        case new
    }

    /// What a client does that stops, after each round of its timer loop.
    enum Stopping: Sendable, Equatable {
        /// Those that hold something have time left to let go of it.
        case wait
        /// They have had half of the time: what they hold is taken back.
        case takeBack
        case end
    }

    private enum State: Sendable {
        case new
        case running
        case stopping
        case ended
    }

    private let shutdownTimeout: Duration
    private var state = State.new
    private var isRunCalled = false
    private var waiters: [UInt64: Waiter] = [:]
    /// When a client that stops ends in any case; `nil` until its timer loop has seen that it stops.
    private var stopDeadline: BootInstant?

    init(shutdownTimeout: Duration) { self.shutdownTimeout = shutdownTimeout }

    var start: Start {
        switch self.state {
        case .new: .new
        case .running: .running
        case .stopping, .ended: .ended
        }
    }

    var isRunning: Bool { if case .running = self.state { true } else { false } }

    var isStopping: Bool {
        switch self.state {
        case .new, .running: false
        case .stopping, .ended: true
        }
    }

    /// `run()` was called. False: not for the first time.
    mutating func runCalled() -> Bool {
        defer { self.isRunCalled = true }
        return !self.isRunCalled
    }

    /// Somebody waits for the start. False if there is nothing to wait for.
    mutating func startAwaited(_ key: UInt64, by waiter: Waiter) -> Bool {
        guard case .new = self.state else { return false }
        self.waiters[key] = waiter
        return true
    }

    mutating func startNoLongerAwaited(_ key: UInt64) -> Waiter? { self.waiters.removeValue(forKey: key) }

    /// Returns who has waited for it.
    mutating func started() -> [Waiter] {
        if case .new = self.state { self.state = .running }
        return self.takeWaiters()
    }

    /// Returns who has waited for the start; `nil` if it stops already.
    mutating func stopWanted() -> [Waiter]? {
        if self.isStopping { return nil }
        self.state = .stopping
        return self.takeWaiters()
    }

    /// Returns who has waited for the start.
    mutating func ended() -> [Waiter] {
        self.state = .ended
        return self.takeWaiters()
    }

    private mutating func takeWaiters() -> [Waiter] {
        defer { self.waiters = [:] }
        return self.waiters.sorted { $0.key < $1.key }.map(\.value)
    }

    /// The timer loop has done what was due.
    ///
    /// - Parameter isIdle: nothing is held, waited for or to be cleaned up.
    mutating func roundEnded(isIdle: Bool, now: BootInstant) -> Stopping {
        guard self.isStopping else { return .wait }
        let deadline = self.stopDeadline ?? now + self.shutdownTimeout
        self.stopDeadline = deadline
        if isIdle || now >= deadline { return .end }
        return now >= self.half(of: deadline) ? .takeBack : .wait
    }

    /// When the timer loop has to look at the stop again at the latest.
    func nextLook(now: BootInstant) -> BootInstant? {
        self.stopDeadline.map { now < self.half(of: $0) ? self.half(of: $0) : $0 }
    }

    private func half(of deadline: BootInstant) -> BootInstant { deadline - self.shutdownTimeout / 2 }
}
