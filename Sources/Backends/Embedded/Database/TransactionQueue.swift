#if Embedded
import DistributedLocks
import Dispatch
import Moments
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Whose transactions these are.
protocol TransactionQueueOwner: AnyObject, Sendable {
    /// Opens the file; called again when it was replaced.
    func openFile(deadline: ContinuousClock.Instant) throws(LockError) -> LockFile

    /// Tells what has to be told after a commit.
    func deliver(_ notices: [Notice])
}

/// Runs work in transactions on one file: all that is waiting at one time goes into one transaction.
///
/// Whoever submits work while nobody is at it does all of it at once, on its own thread: a transaction takes some thirty
/// microseconds, which is less than to wake another thread. Only when another process is writing for longer than a moment
/// does the work move to a thread of its own, where it may wait.
final class TransactionQueue: Sendable {
    /// Work that was submitted. It is begun once, or given up before.
    private final class Job: Sendable {
        enum State {
            case waiting
            case begun
            case givenUp
        }

        let deadline: Moment
        let state = Mutex(State.waiting)
        let run: @Sendable (LockTable) throws -> @Sendable (LockError?) -> Void
        let fail: @Sendable (LockError) -> Void

        init(
            deadline: Moment,
            run: @escaping @Sendable (LockTable) throws -> @Sendable (LockError?) -> Void,
            fail: @escaping @Sendable (LockError) -> Void
        ) {
            self.deadline = deadline
            self.run = run
            self.fail = fail
        }

        var isWaiting: Bool {
            self.state.withLock { if case .waiting = $0 { true } else { false } }
        }

        func begin() -> Bool {
            self.state.withLock { state in
                guard case .waiting = state else { return false }
                state = .begun
                return true
            }
        }

        /// False if it has been begun.
        func giveUp() -> Bool {
            self.state.withLock { state in
                guard case .waiting = state else { return false }
                state = .givenUp
                return true
            }
        }
    }

    private struct State {
        var jobs: [Job] = []
        var isWorking = false
    }

    /// The open file, which only the one who works touches.
    private final class Box: @unchecked Sendable {
        var file: LockFile?
        /// When to look next whether the file is still the one at its path.
        var nextLook = Moment(ContinuousClock.now)
    }

    /// More than this is left for the next transaction, so that no lock holder of another process waits too long.
    private static let jobsPerTransaction = 64
    private static let lookInterval: Duration = .milliseconds(50)
    /// How often a busy file is tried on the caller's thread.
    private static let inlineTries = 30

    private let state = Mutex(State())
    private let box = Box()
    private let path: String
    private let queue = DispatchQueue(label: "dlock.transactions")
    private let owner = Mutex(WeakOwner())

    private struct WeakOwner {
        weak var value: (any TransactionQueueOwner)?
    }

    init(path: String) {
        self.path = path
    }

    func setOwner(_ owner: any TransactionQueueOwner) {
        self.owner.withLock { $0.value = owner }
    }

    /// Runs work in a transaction and waits for its commit.
    ///
    /// - Throws: `cancelled` if the task was cancelled before the work was begun, `outcomeUnknown` if it is not known
    ///   whether the commit took place, `unreachable` if the file stayed busy until the deadline, and what the work throws.
    func transaction<Value: Sendable>(
        deadline: ContinuousClock.Instant,
        _ work: @escaping @Sendable (LockTable) throws -> Value
    ) async throws(LockError) -> Value {
        let running = Mutex<Job?>(nil)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, LockError>, Never>) in
                let job = self.job(deadline: deadline, work) { continuation.resume(returning: $0) }
                running.withLock { $0 = job }
                if Task.isCancelled, job.giveUp() {
                    continuation.resume(returning: .failure(Self.cancelled))
                } else {
                    self.submit(job)
                }
            }
        } onCancel: {
            if let job = running.withLock({ $0 }), job.giveUp() { job.fail(Self.cancelled) }
        }
        return try result.get()
    }

    /// Runs work in a transaction on this thread, now.
    ///
    /// - Returns: What the work gave; `nil` if somebody else is at work, in this client or in another, or if the file has
    ///   to be opened or looked for first. Nothing was done then, and the work has to wait its turn.
    /// - Throws: As ``transaction(deadline:_:)``.
    func atOnce<Value>(now: Moment, _ work: (LockTable) throws -> Value) throws(LockError) -> Value? {
        let isMine = self.state.withLock { state in
            defer { state.isWorking = true }
            return !state.isWorking
        }
        guard isMine else { return nil }
        defer { self.goOn() }
        guard let file = self.box.file, now < self.box.nextLook else { return nil }
        let value: Value
        do {
            guard try file.begin() else { return nil }
            value = try work(file.table)
        } catch is LockTable.NeedsReservation {
            file.rollback()
            return nil
        } catch {
            file.rollback()
            throw LockFile.lockError(error, path: self.path)
        }
        if let error = self.commit(file) { throw error }
        self.deliver(file.table.takeNotices())
        return value
    }

    /// Lets go of the file, or does first what was submitted meanwhile.
    private func goOn() {
        let isOver = self.state.withLock { state in
            guard state.jobs.isEmpty else { return false }
            state.isWorking = false
            return true
        }
        if !isOver { self.workOrLeaveIt() }
    }

    private func workOrLeaveIt() {
        if !self.work(inline: true) {
            self.queue.async { _ = self.work(inline: false) }
        }
    }

    /// Runs work in a transaction, and calls `completion` after its commit, on whatever thread did it.
    func submit<Value: Sendable>(
        deadline: ContinuousClock.Instant,
        _ work: @escaping @Sendable (LockTable) throws -> Value,
        completion: @escaping @Sendable (Result<Value, LockError>) -> Void
    ) {
        self.submit(self.job(deadline: deadline, work, completion))
    }

    /// Reads with the general interface, beside no transaction.
    func withFile<Value: Sendable>(
        deadline: ContinuousClock.Instant,
        _ work: @escaping @Sendable (LockFile) throws -> Value
    ) async throws(LockError) -> Value {
        // An empty job before it makes sure that the file is open.
        let box = self.box
        return try await self.transaction(deadline: deadline) { _ in
            guard let file = box.file else { throw LockError(.unreachable, "\(self.path) is not open") }
            return try work(file)
        }
    }

    /// Leaves the file as the next one who opens it likes it, once no more work is coming. Waits for that.
    func wrapUp() {
        self.queue.sync {
            let isMine = self.state.withLock { state in
                defer { state.isWorking = true }
                return !state.isWorking
            }
            guard isMine else { return }
            self.box.file?.shortenLog()
            _ = self.work(inline: false)
        }
    }

    private static var cancelled: LockError { LockError(.cancelled, "cancelled before the request was begun") }

    private func job<Value: Sendable>(
        deadline: ContinuousClock.Instant,
        _ work: @escaping @Sendable (LockTable) throws -> Value,
        _ completion: @escaping @Sendable (Result<Value, LockError>) -> Void
    ) -> Job {
        Job(deadline: Moment(deadline)) { table in
            let value = try work(table)
            return { error in completion(error.map { .failure($0) } ?? .success(value)) }
        } fail: { error in
            completion(.failure(error))
        }
    }

    private func submit(_ job: Job) {
        let isMine = self.state.withLock { state in
            state.jobs.append(job)
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if isMine { self.workOrLeaveIt() }
    }

    /// Works until there is nothing left. False if the file is busy and this thread must not wait.
    private func work(inline: Bool) -> Bool {
        var tries = 0
        // Opening may wait for other processes, so it is not done on a caller's thread.
        if inline && self.box.file == nil { return false }
        while let jobs = self.nextJobs() {
            do {
                switch try self.run(jobs) {
                case .done: tries = 0
                case .busy(let unbegun):
                    tries += 1
                    self.putBack(unbegun)
                    if inline {
                        if tries > Self.inlineTries { return false }
                        sched_yield()
                    } else {
                        usleep(UInt32(min(20 << min(tries, 6), 1_000)))
                    }
                }
            } catch {
                for job in jobs where job.begin() { job.fail(error) }
            }
        }
        return true
    }

    private enum RunResult {
        case done
        case busy([Job])
    }

    private func run(_ jobs: [Job]) throws(LockError) -> RunResult {
        let now = Moment(ContinuousClock.now)
        for job in jobs where job.deadline <= now && job.begin() {
            job.fail(LockError(.unreachable, "\(self.path) is being written by another process that does not end"))
        }
        let jobs = jobs.filter(\.isWaiting)
        guard let latest = jobs.map(\.deadline).max() else { return .done }
        let file = try self.openFile(deadline: latest.instant)
        do {
            return try self.run(jobs, in: file)
        } catch {
            throw LockFile.lockError(error, path: self.path)
        }
    }

    private func run(_ jobs: [Job], in file: LockFile) throws -> RunResult {
        guard try file.begin() else { return .busy(jobs) }
        var completions: [@Sendable (LockError?) -> Void] = []
        completions.reserveCapacity(jobs.count)
        var begun: [Job] = []
        do {
            for job in jobs where job.begin() {
                begun.append(job)
                completions.append(try job.run(file.table))
            }
        } catch let need as LockTable.NeedsReservation {
            file.rollback()
            // Those behind it have not begun, and must not be forgotten.
            return self.reserve(need.upTo, in: file, for: begun, followedBy: jobs.filter(\.isWaiting))
        } catch {
            // One job's failure is that of its transaction: the others are done again without it.
            file.rollback()
            let failed = begun.removeLast()
            failed.fail(LockFile.lockError(error, path: self.path))
            self.putBack(begun.map { self.again($0) } + jobs.filter(\.isWaiting))
            return .done
        }
        if let error = self.commit(file) {
            for completion in completions { completion(error) }
            return .done
        }
        let notices = file.table.takeNotices()
        for completion in completions { completion(nil) }
        self.deliver(notices)
        return .done
    }

    /// Commits a transaction. Returns what went wrong.
    private func commit(_ file: LockFile) -> LockError? {
        do {
            try file.commit()
            return nil
        } catch {
            file.rollback()
            // A commit that fails for want of space is undone; one that fails while writing may have been done.
            return error.isIOError
                ? LockError(.outcomeUnknown, "\(self.path): \(error.message)")
                : LockFile.lockError(error, path: self.path)
        }
    }

    private func deliver(_ notices: [Notice]) {
        if !notices.isEmpty { self.owner.withLock { $0.value }?.deliver(notices) }
    }

    private func reserve(
        _ number: Int64,
        in file: LockFile,
        for begun: [Job],
        followedBy rest: [Job]
    ) -> RunResult {
        do {
            try file.reserveTokens(upTo: number)
            self.putBack(begun.map { self.again($0) } + rest)
        } catch {
            if error.isBusy { return .busy(begun.map { self.again($0) } + rest) }
            for job in begun { job.fail(LockFile.lockError(error, path: self.path)) }
            self.putBack(rest)
        }
        return .done
    }

    /// A job whose transaction was rolled back, to be begun once more.
    private func again(_ job: Job) -> Job {
        Job(deadline: job.deadline, run: job.run, fail: job.fail)
    }

    private func openFile(deadline: ContinuousClock.Instant) throws(LockError) -> LockFile {
        if let file = self.box.file {
            let now = Moment(ContinuousClock.now)
            if now < self.box.nextLook { return file }
            self.box.nextLook = now + Self.lookInterval
            if file.isInPlace { return file }
            // The file was replaced or removed: what was held in it is held in no other.
            self.box.file = nil
        }
        guard let owner = self.owner.withLock({ $0.value }) else {
            throw LockError(.clientNotRunning, "the backend of \(self.path) is gone")
        }
        let file = try owner.openFile(deadline: deadline)
        self.box.file = file
        return file
    }

    private func nextJobs() -> [Job]? {
        self.state.withLock { state in
            if state.jobs.isEmpty {
                state.isWorking = false
                return nil
            }
            let jobs = Array(state.jobs.prefix(Self.jobsPerTransaction))
            state.jobs.removeFirst(jobs.count)
            return jobs
        }
    }

    private func putBack(_ jobs: [Job]) {
        guard !jobs.isEmpty else { return }
        self.state.withLock { $0.jobs.insert(contentsOf: jobs, at: 0) }
    }
}
#endif
