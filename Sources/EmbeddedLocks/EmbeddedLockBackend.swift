#if Embedded
public import DistributedLocks
import LockKernel
import Synchronization

/// Locks in one SQLite file, for the processes of one host. It needs no server.
///
/// - Waiters are served in the order in which they asked, across all processes. They are woken, never polling.
/// - A process that dies is noticed at once; one that is stopped blocks others until its lease has passed.
/// - Leases are measured in boot time: steps of the wall clock do not touch them, and a reboot voids them.
/// - Fencing tokens are of the domain `clock`, and rise even across a power cut.
///
/// It works on local file systems only. Containers that share the folder of the file share the locks, also those with time
/// namespaces of their own; a file that is mounted by itself or has hard links is refused. A process that is stopped in the middle of a transaction (some thirty
/// microseconds) blocks all users of the file until it goes on: SQLite has no lease on its own write lock.
public final class EmbeddedLockBackend: ProcessLiveness {
    /// What can be chosen.
    public struct Options: Sendable {
        /// More waiters than this on one lock are refused. 10,000 by default.
        public var maximumWaitersPerLock = 10_000
        /// How long an exchange waits for other processes that write, where the caller set no limit. 5 s by default.
        public var busyTimeout: Duration = .seconds(5)

        /// The defaults.
        public init() {}
    }

    struct Sockets: Sendable {
        let folder: SocketFolder
        let liveness: LivenessSocket
        let wake: WakeSocket
        let poller: any SocketPoller
    }

    struct State {
        var waiting: WaitingStateMachine
        var sockets: Sockets?
        var watches: [ParticipantID: SocketWatch] = [:]
        var sink: (any LockEventSink)?
        var alarmSetFor: BootInstant?
        /// What may stand in the file in this client's name: claims that hold or wait, or may do so for all that is known.
        var inFile: [AttemptID: LockName] = [:]
        /// Of those, the ones whose request had an unknown outcome: a later one that fails proves nothing of it.
        var unknown: Set<AttemptID> = []
        /// A file has been opened: the next one is another one.
        var hasOpened = false
        var isShutDown = false
    }

    /// Names the file.
    public let identity: String
    let location: EmbeddedLocation
    let options: Options
    let environment: EmbeddedEnvironment
    let participant: ParticipantID
    let state: Mutex<State>
    let alarm: Alarm
    /// Where a notice waits for a receiver that has too many unread.
    let patientQueue: any WorkQueue
    /// Where sockets wait that have no room for a while.
    let timersOfSockets: any WorkQueue
    let transactions: TransactionQueue

    /// Uses a file of locks.
    ///
    /// The file is opened, and made if there is none, with the first exchange.
    public convenience init(location: EmbeddedLocation, options: Options = Options()) {
        self.init(location: location, options: options, environment: .system)
    }

    /// Uses a file of locks on the host of an environment.
    package init(location: EmbeddedLocation, options: Options, environment: EmbeddedEnvironment) {
        self.location = location
        self.options = options
        self.environment = environment
        self.identity = "embedded:\(location.path)"
        var generator = environment.machine.generator
        let participant = ParticipantID.random(using: &generator)
        self.participant = participant
        self.state = Mutex(State(waiting: WaitingStateMachine(own: participant)))
        self.alarm = Alarm(environment.machine)
        self.patientQueue = environment.machine.threads.makeQueue("dlock.notices")
        self.timersOfSockets = environment.machine.threads.makeQueue("dlock.sockets.timers")
        self.transactions = TransactionQueue(path: location.path, environment: environment.machine)
        self.transactions.setOwner(self)
    }

    deinit {
        self.shutDown()
    }

    /// Leases from 50 ms to a day, one for each grant; first in, first out.
    public var capabilities: LockCapabilities {
        Self.allCapabilities
    }

    private static let allCapabilities = LockCapabilities(
        kind: "embedded",
        leaseRange: .milliseconds(50)...(.seconds(86_400)),
        leaseScope: .grant,
        fairness: .firstInFirstOut
    )

    /// The listening socket by which others see that this client lives.
    public var livenessDescriptors: [Int32] {
        self.state.withLock { $0.sockets.map { [$0.liveness.descriptor] } ?? [] }
    }

    /// Why the file cannot be looked at.
    public func trouble() async -> LockError? {
        do {
            let deadline = self.environment.machine.now + Self.patienceWithLook
            try await self.transactions.transaction(deadline: deadline) { _ in }
            return nil
        } catch {
            return error.code == .cancelled ? nil : error
        }
    }

    private static let patienceWithLook: Duration = .milliseconds(250)

    /// Sets where events go.
    public func start(delivering sink: any LockEventSink) {
        self.state.withLock { $0.sink = sink }
    }

    /// Keeps the time for waiters until it is cancelled. Then it closes the file and the sockets, and drops the sink: every
    /// later exchange is refused with `clientNotRunning`.
    public func run() async throws {
        while !Task.isCancelled {
            let now = self.environment.machine.now
            let looks = self.state.withLock { $0.waiting.timerFired(now: now) }
            // This is the thread on which everybody's locks are kept: it must not wait for the file.
            for look in looks { self.look(look, isOnQueue: true) }
            let next = self.state.withLock { state in
                state.alarmSetFor = state.waiting.nextWakeup()
                return state.alarmSetFor
            }
            await self.alarm.sleep(until: next)
        }
        await self.transactions.close()
        self.shutDown()
    }

    private func shutDown() {
        let (sockets, watches, isLeft) = self.state.withLock { state in
            defer {
                state.sockets = nil
                state.watches = [:]
                state.sink = nil
                state.isShutDown = true
            }
            // In the order in which they began: a dictionary has another one in each process.
            let watches = state.watches.values.sorted { $0.number < $1.number }
            return (state.sockets, watches, !state.inFile.isEmpty)
        }
        for watch in watches { sockets?.poller.cancel(watch) }
        // Whoever meets what is left finds a socket that refuses, and buries it at once.
        sockets?.wake.shutDown(leavingName: isLeft)
        sockets?.liveness.shutDown(leavingName: isLeft)
    }
}
#endif
