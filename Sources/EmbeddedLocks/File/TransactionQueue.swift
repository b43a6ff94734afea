#if Embedded
import DistributedLocks
import LockKernel
import Synchronization

/// Runs work in transactions on one file: all that is waiting at one time goes into one transaction.
///
/// Whoever submits work while nobody is at it does all of it at once, on its own thread: a transaction takes some thirty
/// microseconds, which is less than to wake another thread. The work moves to a thread of its own where it would have to
/// wait: for another process that is writing for longer than a moment, or for the disk.
final class TransactionQueue: Sendable {
    private typealias Job = TransactionJob

    private struct State {
        var jobs: [Job] = []
        var isWorking = false
        var isClosed = false
    }

    /// The open file, which only the one who works touches.
    private final class Box: @unchecked Sendable {
        var file: LockFile?
        /// When to look next whether the file is still the one at its path.
        var nextLook: BootInstant

        init(nextLook: BootInstant) { self.nextLook = nextLook }
    }

    /// More than this is left for the next transaction, so that no lock holder of another process waits too long.
    private static let jobsPerTransaction = 64
    private static let lookInterval: Duration = .milliseconds(50)
    /// How often a busy file is tried on the caller's thread.
    private static let inlineTries = 30

    private let state = Mutex(State())
    private let box: Box
    private let path: String
    private let environment: Environment
    private let queue: any WorkQueue
    private let owner = Mutex(WeakOwner())

    private struct WeakOwner {
        weak var value: (any TransactionQueueOwner)?
    }

    init(path: String, environment: Environment) {
        self.path = path
        self.environment = environment
        self.box = Box(nextLook: environment.now)
        self.queue = environment.threads.makeQueue("dlock.transactions")
    }

    func setOwner(_ owner: any TransactionQueueOwner) {
        self.owner.withLock { $0.value = owner }
    }

    /// Runs work in a transaction and waits for its commit.
    ///
    /// - Throws: `cancelled` if the task was cancelled before the work was begun, `outcomeUnknown` if it is not known
    ///   whether the commit took place, `unreachable` if the file stayed busy until the deadline, and what the work throws.
    ///
    /// - Parameter isOnQueue: Whether to do it on the queue's thread, even if it could be done on this one.
    func transaction<Value: Sendable>(
        deadline: BootInstant,
        isOnQueue: Bool = false,
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
                    self.submit(job, isOnQueue: isOnQueue)
                }
            }
        } onCancel: {
            if let job = running.withLock({ $0 }), job.giveUp() { job.fail(Self.cancelled) }
        }
        return try result.get()
    }

    /// Runs work in a transaction on this thread, now.
    ///
    /// - Returns: What the work gave; `nil` if somebody else is at work, in this client or in another, or if the file or the
    ///   disk has to be waited for. Nothing was done then, and the work has to wait its turn.
    /// - Throws: As ``transaction(deadline:_:)``.
    func atOnce<Value>(now: BootInstant, _ work: (LockTable) throws -> Value) throws(LockError) -> Value? {
        guard self.isMine() else { return nil }
        defer { self.goOn() }
        guard let file = self.box.file, now < self.box.nextLook else { return nil }
        let value: Value
        do {
            guard case .begun = try file.begin(mayWait: false) else { return nil }
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

    /// Takes the file to work on, if nobody has it.
    private func isMine() -> Bool {
        self.state.withLock { state in
            defer { state.isWorking = true }
            return !state.isWorking
        }
    }

    /// Lets go of the file, or does first what was submitted meanwhile.
    private func goOn() {
        let wantsUpkeep = self.box.file?.wantsUpkeep ?? false
        let isOver = self.state.withLock { state in
            guard state.jobs.isEmpty, !wantsUpkeep else { return false }
            state.isWorking = false
            return true
        }
        if !isOver { self.workOrLeaveIt() }
    }

    private func workOrLeaveIt() {
        if !self.work(inline: true) { self.workOnQueue() }
    }

    private func workOnQueue() {
        self.queue.async { _ = self.work(inline: false) }
    }

    /// Runs work in a transaction, and calls `completion` after its commit, on whatever thread did it.
    func submit<Value: Sendable>(
        deadline: BootInstant,
        isOnQueue: Bool = false,
        _ work: @escaping @Sendable (LockTable) throws -> Value,
        completion: @escaping @Sendable (Result<Value, LockError>) -> Void
    ) {
        self.submit(self.job(deadline: deadline, work, completion), isOnQueue: isOnQueue)
    }

    /// Reads with the general interface, beside no transaction.
    func withFile<Value: Sendable>(
        deadline: BootInstant,
        _ work: @escaping @Sendable (LockFile) throws -> Value
    ) async throws(LockError) -> Value {
        // An empty job before it makes sure that the file is open.
        let box = self.box
        return try await self.transaction(deadline: deadline) { _ in
            guard let file = box.file else { throw LockError(.unreachable, "\(self.path) is not open") }
            return try work(file)
        }
    }

    /// Closes the file, and refuses what has not been begun and whatever comes later. Leaves the log as the next one who opens
    /// the file likes it.
    func close() async {
        let isFirst = self.state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard isFirst else { return }
        await withCheckedContinuation { continuation in
            self.queue.async { self.closeWhenIdle { continuation.resume() } }
        }
    }

    private func closeWhenIdle(_ completion: @escaping @Sendable () -> Void) {
        guard self.isMine() else {
            // Whoever is at work on its own thread is done soon; or the work is on this queue, behind.
            self.environment.threads.pause(microseconds: Self.pauseBeforeClosingInMicroseconds)
            return self.queue.async { self.closeWhenIdle(completion) }
        }
        // Nobody else takes the file from now on.
        self.box.file?.shortenLog()
        self.box.file = nil
        completion()
    }

    private static let pauseBeforeClosingInMicroseconds: UInt32 = 100

    private static var cancelled: LockError { LockError(.cancelled, "cancelled before the request was begun") }

    private func job<Value: Sendable>(
        deadline: BootInstant,
        _ work: @escaping @Sendable (LockTable) throws -> Value,
        _ completion: @escaping @Sendable (Result<Value, LockError>) -> Void
    ) -> Job {
        Job(deadline: deadline) { table in
            let value = try work(table)
            return { error in completion(error.map { .failure($0) } ?? .success(value)) }
        } fail: { error in
            completion(.failure(error))
        }
    }

    private func submit(_ job: Job, isOnQueue: Bool) {
        enum Turn { case mine, theirs, closed }
        let turn = self.state.withLock { state -> Turn in
            if state.isClosed { return .closed }
            state.jobs.append(job)
            defer { state.isWorking = true }
            return state.isWorking ? .theirs : .mine
        }
        switch turn {
        case .theirs: break
        case .mine: if isOnQueue { self.workOnQueue() } else { self.workOrLeaveIt() }
        case .closed: if job.begin() { job.fail(Self.closed) }
        }
    }

    private static var closed: LockError { LockError(.clientNotRunning, "the backend was stopped") }

    /// Works until there is nothing left. False if the file or the disk has to be waited for, and this thread must not.
    private func work(inline: Bool) -> Bool {
        var tries = 0
        while true {
            if let file = self.box.file, file.wantsUpkeep {
                if inline { return false }
                file.keepUp()
            }
            guard let (jobs, isClosed) = self.nextJobs() else { return true }
            if isClosed {
                for job in jobs where job.begin() { job.fail(Self.closed) }
                continue
            }
            do {
                switch try self.run(jobs, inline: inline) {
                case .done: tries = 0
                case .mustWait(let unbegun):
                    self.putBack(unbegun)
                    if inline { return false }
                case .busy(let unbegun):
                    tries += 1
                    for job in unbegun { job.metWriter() }
                    self.putBack(unbegun)
                    if inline {
                        if tries > Self.inlineTries { return false }
                        self.environment.threads.yield()
                    } else {
                        self.environment.threads.pause(microseconds: UInt32(min(20 << min(tries, 6), 1_000)))
                    }
                }
            } catch {
                for job in jobs where job.begin() { job.fail(error) }
            }
        }
    }

    private enum RunResult {
        case done
        case busy([Job])
        /// To be done on the queue's thread, or there once more.
        case mustWait([Job])
    }

    private func run(_ jobs: [Job], inline: Bool) throws(LockError) -> RunResult {
        let now = self.environment.now
        for job in jobs where job.deadline <= now { job.expire(path: self.path) }
        let jobs = jobs.filter(\.isWaiting)
        guard let latest = jobs.map(\.deadline).max() else { return .done }
        guard let file = try self.openFile(now: now, deadline: latest, inline: inline) else { return .mustWait(jobs) }
        do {
            return try self.run(jobs, in: file, inline: inline)
        } catch {
            throw LockFile.lockError(error, path: self.path)
        }
    }

    private func run(_ jobs: [Job], in file: LockFile, inline: Bool) throws -> RunResult {
        switch try file.begin(mayWait: !inline) {
        case .begun: break
        case .busy: return .busy(jobs)
        case .mustWait: return .mustWait(jobs)
        case .otherBoot:
            self.box.file = nil
            return .mustWait(jobs)
        }
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
            let rest = jobs.filter(\.isWaiting)
            if inline { return .mustWait(begun.map { self.again($0) } + rest) }
            return self.reserve(need.upTo, in: file, for: begun, followedBy: rest)
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

    /// - Returns: The file; `nil` if it has to be opened, which may wait for other processes and for the disk, and this
    ///   thread must not.
    private func openFile(
        now: BootInstant,
        deadline: BootInstant,
        inline: Bool
    ) throws(LockError) -> LockFile? {
        if let file = self.box.file {
            if now < self.box.nextLook { return file }
            if file.isInPlace {
                self.box.nextLook = now + Self.lookInterval
                return file
            }
        }
        if inline { return nil }
        // The file was replaced or removed: what was held in it is held in no other.
        self.box.file = nil
        guard let owner = self.owner.withLock({ $0.value }) else {
            throw LockError(.clientNotRunning, "the backend of \(self.path) is gone")
        }
        let file = try owner.openFile(deadline: deadline)
        self.box.file = file
        self.box.nextLook = now + Self.lookInterval
        return file
    }

    private func nextJobs() -> (jobs: [Job], isClosed: Bool)? {
        self.state.withLock { state in
            if state.jobs.isEmpty {
                state.isWorking = false
                return nil
            }
            let jobs = Array(state.jobs.prefix(Self.jobsPerTransaction))
            state.jobs.removeFirst(jobs.count)
            return (jobs, state.isClosed)
        }
    }

    private func putBack(_ jobs: [Job]) {
        guard !jobs.isEmpty else { return }
        self.state.withLock { $0.jobs.insert(contentsOf: jobs, at: 0) }
    }
}
#endif
