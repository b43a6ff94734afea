private import LockKernel
private import Supervision

/// What `dlock run` does with a command, without any lock: for the tests to stop, kill and type at.
///
///     test-agent --supervise [--deadline MS] [--grace MS] [--renew MS] [--liveness FD] [--report FD] -- COMMAND [ARG…]
struct SupervisionAgent {
    private let options: [String: Int]
    private let command: SupervisedCommand

    init(_ arguments: some Sequence<String>) {
        var options: [String: Int] = [:]
        var rest = Array(arguments)
        while let name = rest.first, name != "--" {
            options[name] = Int(rest[1])
            rest.removeFirst(2)
        }
        self.options = options
        command = SupervisedCommand(
            arguments: Array(rest.dropFirst()),
            environment: Self.environment(),
            livenessDescriptors: options["--liveness"].map { [Int32($0)] } ?? []
        )
    }

    func run() async -> Int32 {
        let lease = Duration.milliseconds(options["--deadline"] ?? 60_000)
        let grace = Duration.milliseconds(options["--grace"] ?? 1_000)
        let signals = TerminationSignals.capture()
        // As libraries do that write to sockets: nothing that the command should get.
        signal(SIGPIPE, SIG_IGN)
        do {
            say("starting")
            let supervisor = try await Supervisor.start(command, deadline: .now + lease, grace: grace)
            say("started \(supervisor.group)")
            let passing = Task { await pass(signals, to: supervisor) }
            let renewing = options["--renew"].map { period in
                Task { try await renew(supervisor, lease: lease, every: .milliseconds(period)) }
            }
            defer {
                passing.cancel()
                renewing?.cancel()
            }
            return await follow(supervisor)
        } catch {
            say("\(error)")
            switch error {
            case .notExecutable(let errno): return errno == ENOENT || errno == ENOTDIR ? 127 : 126
            case .noInterpreter: return 126
            case .noWatchdog: return 71
            case .tooLate, .watchdogDied: return 79
            }
        }
    }

    private func follow(_ supervisor: Supervisor) async -> Int32 {
        var code: Int32 = 0
        while let event = await supervisor.nextEvent() {
            say("\(event)")
            switch event {
            case .stopped(let signal):
                supervisor.followStop(by: signal) { say("stopping") }
                say("resumed")
            case .continued:
                break
            case .exited(let status, let stoppedByWatchdog):
                code = stoppedByWatchdog ? 79 : status.exitCode
                supervisor.dieOfInterrupt(status)
            case .watchdogDied:
                code = 79
            }
        }
        return code
    }

    private func pass(_ signals: AsyncStream<Int32>, to supervisor: Supervisor) async {
        for await signal in signals {
            say("signal \(signal)")
            if signal == SIGCONT { supervisor.continueCommand() } else { supervisor.forward(signal: signal) }
        }
    }

    private func renew(_ supervisor: Supervisor, lease: Duration, every period: Duration) async throws {
        while true {
            try await Task.sleep(for: period)
            supervisor.extend(deadline: .now + lease)
        }
    }

    private func say(_ line: String) {
        guard let report = options["--report"] else { return }
        _ = "\(line)\n".withCString { write(Int32(report), $0, strlen($0)) }
    }

    private static func environment() -> [(name: String, value: String)] {
        var environment: [(name: String, value: String)] = []
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            environment.append((String(pair[0]), pair.count == 2 ? String(pair[1]) : ""))
            entry += 1
        }
        return environment
    }
}
