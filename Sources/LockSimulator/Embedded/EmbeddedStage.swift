#if Embedded
import DistributedLocks
import EmbeddedLocks
import LockKernel

/// Processes of one machine, whose locks are in one file.
final class EmbeddedStage: Stage {
    private let machine: Machine
    private var world: World { self.machine.world }

    init(_ world: World) {
        world.stepsMayWait = true
        self.machine = Machine(world)
    }

    func makeBackend(on host: Host) throws -> any LockBackend {
        let process = self.machine.start(host)
        let files = SimulatedHostFiles(process: process)
        return EmbeddedLockBackend(
            location: try EmbeddedLocation(path: Machine.path, files: files), options: EmbeddedLockBackend.Options(),
            environment: EmbeddedEnvironment(
                host.makeEnvironment(), files: files, sockets: SimulatedSockets(process: process)))
    }

    func prepare(_ backend: any LockBackend) async throws {}

    // MARK: Faults

    private func process(_ client: SimulatedClient) -> MachineProcess? {
        self.machine.processes.first { $0.host === client.host }
    }

    /// A transaction has some thirty calls.
    private func someCalls() -> Int { Int(self.world.generator.next(upTo: 120)) + 1 }

    var promises: Promises { .exclusion }

    var faults: [Fault] {
        [
            Fault("killed in a transaction") { client in
                let run = client.run
                self.process(client)?.trap(after: self.someCalls()) {
                    run.kill(client)
                    run.at(self.world.duration(10_000_000...2_000_000_000)) { run.startAnother() }
                }
                return nil
            },
            Fault("stopped in a transaction") { client in
                self.process(client)?.trap(after: self.someCalls()) { client.host.stop() }
                return {
                    self.process(client)?.clearTrap()
                    client.host.resume()
                }
            },
            Fault("power cut", parts: 4) { client in
                let run = client.run
                let living = run.living
                for client in living { run.kill(client) }
                self.machine.losePower()
                return { for _ in living { run.startAnother() } }
            },
            Fault("slow disk") { _ in
                self.world.note(self.world.controller, "the disk is slow")
                self.machine.syncTime = Machine.slowSyncTime
                return { self.machine.syncTime = Machine.usualSyncTime }
            },
            Fault("full disk", parts: 2) { _ in
                self.world.note(self.world.controller, "the disk is full")
                self.machine.disk.isFull = true
                return { self.machine.disk.isFull = false }
            },
            Fault("clock set") { _ in
                self.machine.setClock()
                return nil
            },
        ]
    }

    func heal(_ clients: [SimulatedClient]) {
        self.machine.syncTime = Machine.usualSyncTime
        self.machine.disk.isFull = false
        for process in self.machine.processes { process.clearTrap() }
    }

    // MARK: What is left

    func leftovers() -> [String] { self.machine.leftovers() }

    func dump() {
        for line in self.machine.contents() { self.world.note(self.world.controller, line) }
    }
}
#endif
