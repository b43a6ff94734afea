import ArgumentParser
import DistributedLocks
import Foundation
import LockURLs

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures how fast locks are on this machine.",
        usage: "dlock bench [--backend <url> ...] [<options>]",
        discussion: """
            Takes and releases locks of its own, named dlock-bench/…, as fast as it can. A \
            cycle is one acquire and one release, each grant with its fencing token. While \
            measuring it checks that tokens rise with every grant and that no two workers \
            hold a lock at once; if that is ever violated, it says so and exits with 70.

              dlock bench
              dlock bench --workload hot-16 --processes 16
              dlock bench --backend embedded: --backend redis://db1 --html report.html

            Workloads, where a number says how many workers there are:

              seq      one worker takes one lock over and over: what a lock costs
                       that nobody else wants.
              wide-64  64 workers at once, each with a lock of its own, through
                       one client: what a busy service gets.
              hot-16   16 workers, each with a client of its own, all want one
                       lock: how fast it is handed over, and how long one waits
                       for it. Out of order are grants that went past a waiter
                       that had asked earlier, by the clocks of those who ask.
              crash    a process that holds the lock is killed (SIGKILL): how
                       long until the next one has it. Where only the lease tells
                       that a holder is dead, that is about --lease.
              idle     1,000 waiters on a lock that stays held: what waiting costs
                       in processor time and memory; then how long it takes to
                       serve them all.

            Without --workload: seq, wide-64 and hot-16; with --html all of them. Several \
            backends and workloads take turns, round by round, so that a busy moment of the \
            machine does not fall on one of them alone; the median of the rounds counts.

            Exit codes: 0 measured, 64 wrong usage, 69 the backend cannot be used, 70 a \
            lock did what it must never do, 73 the page cannot be written.
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

    @Option(
        help: ArgumentHelp("How many workers there are in workloads named without a number.", valueName: "n"),
        transform: { try Self.number($0, "a number from 1 to \(Workload.maximumWorkers)") }
    )
    var workers: Int?

    @Option(
        help: ArgumentHelp(
            "Spreads the workers of hot over so many processes. Without it they are tasks of this one.",
            valueName: "n"
        ),
        transform: { try Self.number($0, "a number from 1 to \(Self.maximumProcesses)") }
    )
    var processes: Int?

    @Option(
        help: ArgumentHelp("How long one round of one workload lasts (1 unless given).", valueName: "seconds"),
        transform: { text in
            guard let seconds = Double(text) else {
                throw ValidationError("write a number from 0.01 to 600, as in --seconds 5")
            }
            return seconds
        }
    )
    var seconds: Double?

    @Option(
        help: ArgumentHelp("How many rounds there are (5 unless given).", valueName: "n"),
        transform: { try Self.number($0, "a number from 1 to 1000") }
    )
    var rounds: Int?

    @Option(
        help: ArgumentHelp(
            "How long a lock lasts unless renewed.",
            discussion: "Written as in 500ms, 10s, 5m.",
            valueName: "duration"
        )
    )
    var lease = DurationArgument(.seconds(10))

    @Option(
        help: ArgumentHelp(
            "Writes a page with plots and a recommendation as well.",
            discussion: """
                HTML that needs no network. The file is replaced in one step, when all is \
                measured; - is standard output, which then has the page alone. Each round of \
                crash lasts about as long as the lease on most backends: a shorter --lease \
                makes it quicker.
                """,
            valueName: "file"
        )
    )
    var html: String?

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

    private static func number(_ text: String, _ what: String) throws -> Int {
        guard let number = Int(text) else { throw ValidationError("write \(what)") }
        return number
    }

    private var secondsPerRound: Double { self.seconds ?? 1 }
    private var roundCount: Int { self.rounds ?? 5 }

    func validate() throws {
        guard self.secondsPerRound >= 0.01, self.secondsPerRound <= 600 else {
            throw ValidationError("--seconds is a number from 0.01 to 600, as in --seconds 5")
        }
        guard (1...1_000).contains(self.roundCount) else {
            throw ValidationError("--rounds is a number from 1 to 1000, not \(self.roundCount)")
        }
        if let workers, !(1...Workload.maximumWorkers).contains(workers) {
            throw ValidationError("--workers is a number from 1 to \(Workload.maximumWorkers), not \(workers)")
        }
        guard self.lease.duration >= .milliseconds(1), self.lease.duration <= .seconds(86_400) else {
            throw ValidationError("--lease is a duration from 1ms to 1d, as in --lease 10s")
        }
        if self.json, self.html == "-" {
            throw ValidationError("standard output is for JSON or for the page: give --html a file")
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
        if self.workload.isEmpty {
            return self.html == nil
                ? Workload.defaults(workers: self.workers) : Workload.ofPage(workers: self.workers)
        }
        var workloads: [Workload] = []
        for text in self.workload {
            let workload = try Workload.parse(text, workers: self.workers)
            if !workloads.contains(workload) { workloads.append(workload) }
        }
        return workloads
    }

    @concurrent
    func run() async throws {
        Self.raiseDescriptorLimit()
        // Before the measurement, which may last for minutes.
        let page = try self.html.map { try PageFile($0) }
        let backends = self.backend.isEmpty ? [nil] : self.backend.map { Optional($0) }
        let settings = backends.map { backend in
            BenchSettings(
                backend: backend,
                seconds: self.secondsPerRound,
                leaseMilliseconds: Int64(self.lease.duration / .milliseconds(1)),
                runsOnBackendThreads: self.onBackendThreads
            )
        }
        let urls = try settings.map { settings in
            let options = settings.backendOptions()
            try settings.checkLease(on: options.makeBackend())
            return try options.url
        }
        let workloads = try self.workloads()
        let run = BenchRun(
            backends: zip(urls, settings).map { BenchRun.Backend(shown: $0.description, settings: $1) },
            workloads: workloads,
            processes: self.processes,
            rounds: self.roundCount,
            outlivesFailures: page != nil
        )
        do {
            var subjects = BenchSubject.named(urls)
            if page != nil {
                for index in subjects.indices {
                    subjects[index].warnings = try await ServerLook.warnings(settings[index])
                }
            }
            let machine = MachineConditions.before()
            let report = BenchReport(
                rounds: self.roundCount,
                secondsPerRound: self.secondsPerRound,
                leaseMilliseconds: settings.first?.leaseMilliseconds ?? 0,
                processors: ProcessInfo.processInfo.activeProcessorCount,
                results: try await run.results()
            )
            // Figures that took minutes are shown also when the page cannot be written any more.
            if page?.isStandardOutput != true { Console.print(self.json ? try report.json() : report.text()) }
            let conditions = machine.after(command: self.command(subjects))
            let whole = BenchPage(
                report: report, workloads: workloads, subjects: subjects, conditions: conditions)
            try page?.write(whole.html)
            if let failure = whole.failures.first {
                throw Failure(
                    status: ExitStatus.unavailable,
                    message: "\(whole.failures.count) of \(report.results.count) measurements failed; \(failure)")
            }
        } catch {
            Console.clearPassing()
            throw BenchFailure.failure(of: error)
        }
    }

    /// What measures the same again, for a shell. It is made of what was understood, so that no password is in it.
    private func command(_ subjects: [BenchSubject]) -> String {
        var words = ["dlock", "bench"]
        for subject in subjects { words += ["--backend", subject.url] }
        for workload in self.workload { words += ["--workload", workload] }
        if let workers { words += ["--workers", "\(workers)"] }
        if let processes { words += ["--processes", "\(processes)"] }
        if let seconds { words += ["--seconds", "\(seconds)"] }
        if let rounds { words += ["--rounds", "\(rounds)"] }
        if self.lease != DurationArgument(.seconds(10)) {
            words += ["--lease", "\(Int64(self.lease.duration / .milliseconds(1)))ms"]
        }
        if self.onBackendThreads { words.append("--on-backend-threads") }
        if let html { words += ["--html", html] }
        return words.map(Self.quoted).joined(separator: " ")
    }

    private static func quoted(_ word: String) -> String {
        let isPlain =
            !word.isEmpty
            && word.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-_./:,+@%=".utf8.contains(byte)
                }
            }
        return isPlain
            ? word : "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
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
