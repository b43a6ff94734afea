import ArgumentParser
import DistributedLocks
import Foundation
import LockURLs

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures how fast locks are on this machine.",
        discussion: """
            Takes and releases locks of its own, named dlock-bench/…, as fast as it can. A cycle is one acquire and one \
            release, each grant with its fencing token. While measuring it checks that tokens rise with every grant and \
            that no two workers hold a lock at once; if that is ever violated, it says so and exits with 70.

              dlock bench
              dlock bench --workload hot-16 --processes 16
              dlock bench --backend embedded:///srv/locks.db --workload seq --json

            Workloads, where a number says how many workers there are:

              seq      one worker takes one lock over and over: what a lock costs
                       that nobody else wants.
              wide-64  64 workers at once, each with a lock of its own, through one
                       client: what a busy service gets.
              hot-16   16 workers, each with a client of its own, all want one lock:
                       how fast it is handed over, and how long one waits for it.
                       Out of order are grants that went past a waiter that had
                       asked earlier, by the clocks of those who ask.
              crash    a process that holds the lock is killed (SIGKILL): how long
                       until the next one has it. Where only the lease tells that
                       a holder is dead, that is about --lease.
              idle     1,000 waiters on a lock that stays held: what waiting costs
                       in processor time and memory; then how long it takes to
                       serve them all.

            Without --workload: seq, wide-64 and hot-16. Several backends and workloads take turns, round by round, so \
            that a busy moment of the machine does not fall on one of them alone; the median of the rounds counts.

            Exit codes: 0 measured, 64 wrong usage, 69 the backend cannot be used, 70 a lock did what it must never do.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Where the locks are kept, as a URL. May be given several times.",
            discussion: "Without this option DLOCK_BACKEND from the environment counts, then embedded:.",
            valueName: "url"
        )
    )
    var backend: [String] = []

    @Option(
        help: ArgumentHelp("seq, wide-N, hot-N, crash or idle. May be given several times.", valueName: "workload")
    )
    var workload: [String] = []

    @Option(help: ArgumentHelp("How many workers there are in workloads named without a number.", valueName: "n"))
    var workers: Int?

    @Option(
        help: ArgumentHelp(
            "Spreads the workers of hot over so many processes. Without it they are tasks of this one.",
            valueName: "n"
        )
    )
    var processes: Int?

    @Option(help: ArgumentHelp("How long one round of one workload lasts.", valueName: "seconds"))
    var seconds: Double = 1

    @Option(help: ArgumentHelp("How many rounds there are.", valueName: "n"))
    var rounds: Int = 5

    @Option(
        help: ArgumentHelp(
            "How long a lock lasts unless renewed.",
            discussion: "Written as in 500ms, 10s, 5m.",
            valueName: "duration"
        )
    )
    var lease = DurationArgument(.seconds(10))

    @Flag(
        help: ArgumentHelp(
            "Runs the workers on the backend's own threads, where it has some.",
            discussion: """
                As a service does whose tasks prefer the backend's executor: asking and being answered then changes no \
                thread. Without it, workers run where tasks run by default.
                """
        )
    )
    var onBackendThreads = false

    @Flag(help: "Writes JSON: times in microseconds, tokens as strings.")
    var json = false

    private static let maximumProcesses = 1_000

    func validate() throws {
        guard self.seconds >= 0.01, self.seconds <= 600 else {
            throw ValidationError("--seconds is a number from 0.01 to 600, as in --seconds 5")
        }
        guard (1...1_000).contains(self.rounds) else {
            throw ValidationError("--rounds is a number from 1 to 1000, not \(self.rounds)")
        }
        if let workers, !(1...Workload.maximumWorkers).contains(workers) {
            throw ValidationError("--workers is a number from 1 to \(Workload.maximumWorkers), not \(workers)")
        }
        guard self.lease.duration >= .milliseconds(1), self.lease.duration <= .seconds(86_400) else {
            throw ValidationError("--lease is a duration from 1ms to 1d, as in --lease 10s")
        }
        let workloads = try self.workloads()
        if self.workers != nil, !self.workload.isEmpty,
            !self.workload.contains(where: { Workload.Kind(rawValue: $0)?.isOfManyWorkers ?? false })
        {
            throw ValidationError(
                "--workers counts for wide, hot and idle named without a number, as in --workload hot")
        }
        guard let processes else { return }
        guard (1...Self.maximumProcesses).contains(processes) else {
            throw ValidationError("--processes is a number from 1 to \(Self.maximumProcesses), not \(processes)")
        }
        let hot = workloads.filter { $0.kind == .hot }
        guard let fewest = hot.map(\.workers).min() else {
            throw ValidationError("--processes is for hot: add --workload hot-\(max(processes, 16))")
        }
        guard processes <= fewest else {
            throw ValidationError(
                "\(fewest) workers cannot be spread over \(processes) processes: use hot-\(processes)")
        }
    }

    /// Each one once, in the order in which they were named.
    private func workloads() throws -> [Workload] {
        if self.workload.isEmpty { return Workload.defaults(workers: self.workers) }
        var workloads: [Workload] = []
        for text in self.workload {
            let workload = try Workload.parse(text, workers: self.workers)
            if !workloads.contains(workload) { workloads.append(workload) }
        }
        return workloads
    }

    @concurrent
    func run() async throws {
        // A worker process that died is told to the user in words.
        signal(SIGPIPE, SIG_IGN)
        Self.raiseDescriptorLimit()
        let backends = self.backend.isEmpty ? [nil] : self.backend.map { Optional($0) }
        let settings = backends.map { backend in
            BenchSettings(
                backend: backend,
                seconds: self.seconds,
                leaseMilliseconds: Int64(self.lease.duration / .milliseconds(1)),
                runsOnBackendThreads: self.onBackendThreads
            )
        }
        let shown = try settings.map { settings in
            let options = settings.backendOptions()
            try Self.check(lease: settings.lease, on: options.makeBackend())
            return try options.url.description
        }
        let run = BenchRun(
            backends: zip(shown, settings).map { BenchRun.Backend(shown: $0, settings: $1) },
            workloads: try self.workloads(),
            processes: self.processes,
            rounds: self.rounds
        )
        do {
            let report = BenchReport(
                rounds: self.rounds,
                secondsPerRound: self.seconds,
                leaseMilliseconds: settings.first?.leaseMilliseconds ?? 0,
                processors: ProcessInfo.processInfo.activeProcessorCount,
                results: try await run.results()
            )
            Console.print(self.json ? try report.json() : report.text())
        } catch {
            Console.clearPassing()
            throw BenchFailure.failure(of: error)
        }
    }

    private static func check(lease: Duration, on backend: any LockBackend) throws {
        let range = backend.capabilities.leaseRange
        guard range.contains(lease) else {
            throw ValidationError(
                "a lease on \(backend.capabilities.kind) lasts from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// Each worker of hot has connections of its own.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        #if canImport(Glibc)
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
        let resource = RLIMIT_NOFILE
        #endif
        guard getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(resource, &limit)
    }
}
