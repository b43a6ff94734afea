import DistributedLocks
import Foundation
import LockKernel
import LockURLs
import Supervision
import Synchronization

/// One `dlock run`: acquire, run the command under the watchdog, release.
struct RunSession: Sendable {
    private let name: LockName
    private let command: [String]
    private let url: String
    private let lease: Duration
    private let waitingAtMost: Duration?
    private let holdingAtMost: Duration?
    private let busyStatus: Int32
    private let client: LockClient
    private let backend: any LockBackend

    /// The time between SIGTERM and the end of the lease.
    private var grace: Duration {
        let capabilities = self.backend.capabilities
        // Where leases belong to the session, that is what ends.
        let lease =
            switch capabilities.leaseScope {
            case .grant: self.lease
            case .session: min(self.lease, capabilities.leaseRange.lowerBound)
            }
        return min(lease / 6, .seconds(5))
    }

    init(_ options: RunCommand) throws {
        do {
            // RunCommand has seen to it that there is one.
            self.name = try LockName(options.name ?? "")
        } catch {
            throw Failure(error)
        }
        self.command = options.command
        let handedOn = HandedOnURL(try options.backend.url)
        let url = handedOn.url
        self.url = handedOn.text
        self.lease = options.lease.duration
        self.waitingAtMost = options.noWait ? .zero : options.wait?.duration
        self.holdingAtMost = options.maxHold?.duration
        self.busyStatus = options.busyExitCode
        self.backend = try BackendOptions.backend(at: url)
        var configuration = LockClient.Configuration()
        configuration.lease = options.lease.duration
        configuration.metadata.label = options.label
        self.client = LockClient(backend: self.backend, configuration: configuration)
    }

    /// How a session ended.
    struct End: Sendable {
        let exitCode: Int32
        /// The command that ran, if one did.
        var command: (supervisor: Supervisor, status: CommandStatus)?

        /// Ends this process as the command ended: a Ctrl-C that killed the command kills dlock too, so that a shell
        /// script stops as it would without dlock.
        func exit() -> Never {
            if let command = self.command { command.supervisor.dieOfInterrupt(command.status) }
            Foundation.exit(self.exitCode)
        }
    }

    func run() async throws -> End {
        let signals = SignalInbox(TerminationSignals.capture())
        let running = Task { [client] in try await client.run() }
        let result: Result<End, any Error>
        do {
            result = .success(try await self.runCommand(signals))
        } catch let error as LockError {
            result = .failure(await self.failure(error))
        } catch {
            result = .failure(error)
        }
        running.cancel()
        _ = await running.result
        if self.client.hasUnconfirmedReleases {
            Console.complain(
                "the backend has not confirmed that '\(self.name)' was released: it may count as held until its lease ends"
            )
        }
        return try result.get()
    }

    private func runCommand(_ signals: SignalInbox) async throws -> End {
        let nesting = Nesting(EnvironmentText.value(Nesting.variable) ?? "")
        try await self.refuseSelfDeadlock(nesting)
        let handle: LockHandle
        switch try await self.acquire(signals) {
        case .acquired(let acquired): handle = acquired
        case .interrupted(let signal): return End(exitCode: 128 + signal)
        }
        var end: End?
        do {
            end = try await self.supervise(handle, nesting: nesting, signals: signals)
            try await handle.release()
        } catch let error as LockError where error.code == .lost {
            // Nothing is left of it when this process ends: whoever breaks the lock next finds nobody.
            try? await handle.release()
            let command =
                end.map { "the command had ended by itself by then, with exit code \($0.exitCode)" }
                ?? "the command was ended"
            throw Failure(status: ExitStatus.lost, message: "\(error.message); \(command)")
        } catch {
            try? await handle.release()
            throw error
        }
        return end!
    }

    /// A command that waits for a lock under which it runs would wait for itself.
    private func refuseSelfDeadlock(_ nesting: Nesting) async throws {
        guard let outer = nesting.outerGrant(of: self.name, backend: self.backend.identity) else { return }
        // A daemon that outlived its lock still has the variable.
        let status = try await self.client.status(of: self.name)
        guard status.holder?.token?.description == outer.token else { return }
        throw Failure(
            status: ExitStatus.usage,
            message: "this command runs under '\(self.name)' already, and would wait for itself"
        )
    }

    private enum Acquisition: Sendable {
        case acquired(LockHandle)
        case interrupted(signal: Int32)
    }

    private func acquire(_ signals: SignalInbox) async throws -> Acquisition {
        try await withThrowingTaskGroup(of: Acquisition?.self) { group in
            group.addTask {
                do {
                    return .acquired(
                        try await self.client.acquire(
                            self.name,
                            lease: self.lease,
                            waitingAtMost: self.waitingAtMost,
                            holdingAtMost: self.holdingAtMost
                        )
                    )
                } catch is CancellationError {
                    return nil
                }
            }
            group.addTask {
                await WaitingLine(client: self.client, name: self.name).show()
                return nil
            }
            group.addTask {
                while let signal = await signals.next() {
                    switch signal {
                    case SIGTSTP:
                        Console.clearPassing()
                        TerminationSignals.stop()
                    case SIGCONT, SIGUSR1, SIGUSR2: break
                    default: return .interrupted(signal: signal)
                    }
                }
                return nil
            }
            var end: Acquisition?
            do {
                while let next = try await group.next() {
                    guard let next else { continue }
                    // A grant that came at the instant of a signal is dropped with its handle, which releases it.
                    if end == nil { end = next }
                    group.cancelAll()
                }
            } catch {
                group.cancelAll()
                throw error
            }
            guard let end else { throw CancellationError() }
            return end
        }
    }

    /// Runs the command. Throws `lost` if it was ended because the lock was.
    private func supervise(
        _ handle: LockHandle,
        nesting: Nesting,
        signals: SignalInbox
    ) async throws -> End {
        let supervisor = try await self.start(handle, nesting: nesting)
        let watching = Task {
            await withDiscardingTaskGroup { group in
                group.addTask {
                    for await validUntil in handle.validityUpdates { supervisor.extend(deadline: validUntil) }
                }
                group.addTask {
                    if (try? await handle.lost()) != nil { supervisor.terminate() }
                }
                group.addTask { await self.passOn(signals, to: supervisor) }
            }
        }
        defer { watching.cancel() }
        while let event = await supervisor.nextEvent() {
            switch event {
            case .stopped(let signal):
                supervisor.followStop(by: signal) {
                    let left = handle.validUntil - ContinuousClock.now
                    Console.complain(
                        "stopped; '\(self.name)' is kept for \(left.brief), then the command is ended"
                    )
                }
            case .continued:
                break
            case .watchdogDied:
                throw Failure(
                    status: ExitStatus.lost,
                    message: "the watchdog was killed, so the command was ended, too"
                )
            case .exited(let status, let stoppedByWatchdog):
                if stoppedByWatchdog { try self.throwLoss(of: handle) }
                return End(exitCode: status.exitCode, command: (supervisor, status))
            }
        }
        preconditionFailure("a command ends with an event")
    }

    /// The watchdog ended the command: because the lock was lost, or in good time before it would have been.
    private func throwLoss(of handle: LockHandle) throws {
        try handle.checkValid()
        throw Failure(
            status: ExitStatus.lost,
            message: "the lease of '\(self.name)' (token \(handle.token)) came to its end; the command was ended"
        )
    }

    private func passOn(_ signals: SignalInbox, to supervisor: Supervisor) async {
        while let signal = await signals.next() {
            switch signal {
            case SIGCONT: supervisor.continueCommand()
            default: supervisor.forward(signal: signal)
            }
        }
    }

    private func start(_ handle: LockHandle, nesting: Nesting) async throws -> Supervisor {
        let own = [
            "DLOCK_NAME": self.name.rawValue,
            "DLOCK_FENCING_TOKEN": handle.token.description,
            "DLOCK_TOKEN_DOMAIN": handle.tokenDomain.rawValue,
            "DLOCK_BACKEND": self.url,
            Nesting.variable: nesting.adding(name: self.name, backend: self.backend.identity, token: handle.token),
        ]
        let names = own.keys.map { Array("\($0)=".utf8) }
        let others = Caller.environment.filter { entry in !names.contains { entry.starts(with: $0) } }
        do {
            return try await Supervisor.start(
                SupervisedCommand(
                    arguments: self.command.map(RawText.bytes),
                    environment: others + own.map { RawText.bytes("\($0.key)=\($0.value)") },
                    livenessDescriptors: (self.backend as? any ProcessLiveness)?.livenessDescriptors ?? []
                ),
                deadline: handle.validUntil,
                grace: self.grace
            )
        } catch {
            throw self.failure(error)
        }
    }

    /// What an error of the library means here: who has the lock that was not granted, in any case.
    private func failure(_ error: LockError) async -> Failure {
        switch error.code {
        case .busy:
            let holder = error.holder?.description ?? "another program"
            return Failure(status: self.busyStatus, message: "'\(self.name)' is held by \(holder)")
        case .timedOut:
            guard let holder = await self.holder() else {
                return Failure(status: self.busyStatus, message: error.message)
            }
            let wait = (self.waitingAtMost ?? .zero).brief
            return Failure(
                status: self.busyStatus,
                message: "'\(self.name)' was not granted within \(wait): it is held by \(holder)")
        default:
            return Failure(error, busyStatus: self.busyStatus)
        }
    }

    /// Who holds the lock, if that can be told soon.
    private func holder() async -> String? {
        await withTaskGroup(of: String?.self) { group in
            group.addTask {
                guard let holder = try? await self.client.status(of: self.name).holder else { return nil }
                let heldFor = holder.heldFor.map { ", for \($0.brief)" } ?? ""
                return (holder.metadata?.description ?? "another program") + heldFor
            }
            group.addTask {
                try? await Task.sleep(for: .seconds(1))
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    private func failure(_ error: SpawnError) -> Failure {
        let shown = self.command.first ?? ""
        switch error {
        case .notExecutable(let code) where code == ENOENT || code == ENOTDIR:
            return Failure(status: ExitStatus.notFound, message: "\(shown): command not found")
        case .notExecutable(let code):
            return Failure(
                status: ExitStatus.notExecutable,
                message: "\(shown): cannot be run (\(String(cString: strerror(code))))")
        case .noInterpreter:
            return Failure(
                status: ExitStatus.notExecutable,
                message:
                    "\(shown): cannot be run: it is there, but the interpreter that it names (or its loader) is not")
        case .noWatchdog(let code):
            return Failure(
                status: ExitStatus.unavailable,
                message: "the watchdog cannot be started (\(String(cString: strerror(code))))"
            )
        case .tooLate:
            return Failure(status: ExitStatus.lost, message: "the lock '\(self.name)' ended before the command began")
        case .watchdogDied:
            return Failure(status: ExitStatus.lost, message: "the watchdog was killed, so the command was ended, too")
        }
    }
}
