package import LockKernel
public import Logging
public import Metrics
public import Tracing

extension LockClient {
    /// How a client behaves where a call does not say it.
    public struct Configuration: Sendable {
        /// How long a grant lasts unless it is renewed: the longest time for which a dead holder may block others.
        /// 30 s by default.
        public var lease: Duration = .seconds(30)

        /// How long a call waits for `run()` to start, at most. 5 s by default.
        public var startTimeout: Duration = .seconds(5)

        /// How long one exchange may take when the caller set no limit, and when it does not wait in a queue. 5 s by
        /// default.
        public var requestTimeout: Duration = .seconds(5)

        /// How long a stopped client goes on releasing what it holds. 2 s by default.
        public var shutdownTimeout: Duration = .seconds(2)

        /// What others see of what this client holds and waits for, where a call does not say it: host, process and label.
        public var metadata: OwnerMetadata = .current()

        /// Where the time comes from.
        public var clock: any LockClock = SystemLockClock()

        /// Where log messages go. Nothing is logged above `info` that is not a danger to the caller's data.
        ///
        /// The handler is called on the threads that keep everybody's locks: it must not block.
        public var logger = Logger(label: "distributed-locks", factory: { _ in SwiftLogNoOpLogHandler() })

        /// Where metrics go; `nil` for what the process was bootstrapped with. Its handlers must not block, as those of the
        /// logger.
        public var metricsFactory: (any MetricsFactory)?

        /// Where spans go; `nil` for what the process was bootstrapped with.
        public var tracer: (any Tracer)?

        /// The defaults.
        public init() {}

        /// The defaults in a process of an environment.
        package init(_ environment: Environment) {
            self.metadata = OwnerMetadata(of: environment.process)
        }
    }
}
