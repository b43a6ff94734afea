import DistributedLocks
import LockKernel

/// A client of a run, with its host.
final class SimulatedClient: @unchecked Sendable {
    let host: Host
    let locks: LockClient
    unowned let run: Run
    var running: Task<Void, Never>?
    var workers: [Task<Void, Never>] = []
    var hasEnded = false
    /// Calls of its workers that have not ended.
    var openCalls = 0
    /// For which lock a worker waits.
    var waiting: [String: String] = [:]

    init(host: Host, locks: LockClient, run: Run) {
        self.host = host
        self.locks = locks
        self.run = run
    }

    /// As by SIGKILL, or because its machine has lost power.
    func kill() {
        self.host.kill()
        self.openCalls = 0
        self.waiting = [:]
        self.hasEnded = true
    }
}

/// Takes locks, one after another.
final class Worker: @unchecked Sendable {
    private let name: String
    private let client: SimulatedClient
    private unowned let run: Run
    private var generator: SimulationGenerator
    private let environment: Environment

    init(name: String, client: SimulatedClient, run: Run, generator: SimulationGenerator) {
        self.name = name
        self.client = client
        self.run = run
        self.generator = generator
        self.environment = client.host.makeEnvironment()
    }

    private var host: Host { self.client.host }
    private var title: String { "\(self.host.name) \(self.name)" }

    func work() async {
        while !self.run.isOver {
            await self.call()
            await self.pause(atMost: 500)
        }
    }

    private func pause(atMost milliseconds: UInt64) async {
        let pause = Duration.milliseconds(Int64(self.generator.next(upTo: milliseconds)))
        try? await self.environment.time.sleep(until: self.environment.now + pause)
    }

    /// Takes each lock once, when all is well: nobody may be in its way any more.
    ///
    /// - Parameter excuses: with what it may be refused all the same.
    func takeEach(excuses: Set<LockError.Code>) async {
        for lock in self.run.names {
            do {
                try await self.client.locks.withLock(lock, waitingAtMost: .seconds(30)) { held in
                    let validity = held.validity
                    await self.hold(lock, validity)
                }
            } catch let error as LockError where excuses.contains(error.code) {
                self.run.world.note(self.host, "\(lock) cannot be had yet: \(error.code)")
            } catch {
                self.run.dump()
                self.run.history.violated(.liveness, "\(lock) cannot be had although all is well: \(error)")
            }
        }
    }

    private func call() async {
        let lock = self.generator.pick(self.run.names)
        let limit = Duration.seconds(self.generator.pick(self.run.limits))
        self.client.openCalls += 1
        self.client.waiting[self.name] = lock
        defer {
            if self.host.state != .isDead { self.client.openCalls -= 1 }
            self.client.waiting[self.name] = nil
        }
        let call = Task {
            do {
                try await self.client.locks.withLock(lock, waitingAtMost: limit) { held in
                    let validity = held.validity
                    await self.hold(lock, validity)
                }
            } catch let error as LockError {
                self.run.world.note(self.host, "\(self.name) has not got \(lock), or lost it: \(error.code)")
            } catch {
                self.run.world.note(self.host, "\(self.name): \(error)")
            }
        }
        if self.generator.chance(1, of: 8) {
            await self.pause(atMost: 3_000)
            call.cancel()
        }
        await call.value
    }

    private func hold(_ lock: String, _ validity: HeldLock.Validity) async {
        // It may have been killed in the middle of a call that has come to its end since.
        guard self.host.state != .isDead else { return }
        self.client.waiting[self.name] = nil
        let (world, history) = (self.run.world, self.run.history)
        func until() -> Int64 { self.host.worldTime(of: BootInstant(validity.validUntil)) }
        let number = history.began(lock, token: validity.token.rawValue, worker: self.title, on: self.host) {
            validity.isValid
        }
        for _ in 0..<self.generator.next(upTo: 4) {
            let value = history.read(lock, token: validity.token.rawValue)
            await self.pause(atMost: self.generator.chance(1, of: 5) ? 6_000 : 200)
            // Whoever says that it is valid is so now, whatever it says about later.
            if validity.isValid { history.isValid(number, of: lock, until: max(until(), world.time + 1)) }
            if let value { history.write(lock, value + 1, token: validity.token.rawValue) }
        }
        history.ended(number, of: lock, on: self.host, validUntil: validity.isValid ? .max : min(until(), world.time))
    }
}
