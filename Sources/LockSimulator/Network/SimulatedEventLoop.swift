import Dispatch
import LockKernel
import NIOCore

/// An event loop of a host: it does its tasks in order, when the world lets it.
final class SimulatedEventLoop: EventLoop, @unchecked Sendable {
    let host: Host
    private let source: World.Source
    private var world: World { self.host.world }

    init(_ host: Host, name: String = "loop") {
        self.host = host
        self.source = host.world.makeSource(host, name)
    }

    var inEventLoop: Bool { self.world.currentSource === self.source }

    var now: NIODeadline { .uptimeNanoseconds(UInt64(self.world.time + self.host.bootTime)) }

    func execute(_ task: @escaping @Sendable () -> Void) { self.world.enqueue(self.source, task) }

    /// - Parameter time: of the world.
    func execute(at time: Int64, _ task: @escaping () -> Void) { self.world.enqueue(self.source, at: time, task) }

    func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        let timer = Cancellation()
        let promise = self.makePromise(of: T.self)
        let scheduled = Scheduled(
            promise: promise,
            cancellationTask: {
                timer.isCancelled = true
            })
        let delay = deadline - self.now
        self.execute(at: self.world.time + max(0, delay.nanoseconds)) {
            guard !timer.isCancelled else { return }
            promise.assumeIsolated().completeWith(Result { try task() })
        }
        return scheduled
    }

    private final class Cancellation: @unchecked Sendable {
        var isCancelled = false
    }

    func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        self.scheduleTask(deadline: self.now + delay, task)
    }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        self.execute { callback(nil) }
    }
}
