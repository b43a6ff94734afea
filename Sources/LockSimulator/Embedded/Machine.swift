#if Embedded
import LockKernel

/// One machine on which several processes run: they share its disk, its sockets, its clock and its boot.
final class Machine {
    unowned let world: World
    let disk = VirtualDisk()
    private(set) var bootID = ""
    /// How long it had been up when the world began, in nanoseconds; less than nothing where it has been started since.
    private var upTime: Int64
    private(set) var wallClockError: Int64 = 0
    private(set) var processes: [MachineProcess] = []
    /// How long the disk takes to sync, in nanoseconds.
    var syncTime = Machine.usualSyncTime
    /// So many datagrams wait at a socket, and connections at a listening one.
    let longestQueue: Int
    let longestBacklog: Int

    static let usualSyncTime: ClosedRange<Int64> = 100_000...5_000_000
    static let slowSyncTime: ClosedRange<Int64> = 500_000_000...6_000_000_000
    static let folder = "/locks"
    static let path = "/locks/locks.db"

    init(_ world: World) {
        self.world = world
        self.upTime = world.duration(1...1_000_000_000_000_000)
        self.longestQueue = world.generator.pick([1, 10, 512])
        self.longestBacklog = world.generator.pick([0, 4_096])
        self.disk.makeFolder(atRoot: Self.folder)
        self.begin()
        world.ended.append { [self] in for process in self.processes { process.isOver = true } }
    }

    private func begin() {
        let number = self.world.generator.next()
        self.bootID = String(number, radix: 16)
    }

    /// A process begins there.
    func start(_ host: Host) -> MachineProcess {
        let process = MachineProcess(host, on: self, number: self.processes.count + 1)
        // Each may be in a time namespace of its own.
        process.clockOffset =
            self.world.generator.chance(1, of: 2) ? 0 : self.world.duration(-1_000_000_000...1_000_000_000_000)
        host.bootTime = self.upTime + process.clockOffset
        host.wallClockError = self.wallClockError
        self.processes.append(process)
        return process
    }

    /// All that runs on it is dead. It is up again at once; who is to run on it is started.
    func losePower() {
        for process in self.processes { process.host.kill() }
        self.world.note(self.world.controller, "power is cut")
        self.disk.losePower(&self.world.generator)
        self.upTime = self.world.duration(1...20_000_000_000) - self.world.time
        self.begin()
        // A clock without a battery begins anywhere, until somebody sets it.
        if self.world.generator.chance(1, of: 3) { self.setClock() }
    }

    func setClock() {
        let error = self.world.duration(-3_600_000_000_000...3_600_000_000_000)
        self.world.note(self.world.controller, "the clock is set to be \(error / 1_000_000) ms ahead")
        self.wallClockError = error
        for process in self.processes { process.host.wallClockError = error }
    }
}

/// A process on a machine: what it has open, and what the machine does to it in the middle of a call.
/// Used by the steps of one world, of which one runs at a time.
final class MachineProcess: DiskUser, @unchecked Sendable {
    let host: Host
    unowned let machine: Machine
    let vfsName: String
    private var registration: SimulatedVFS.Registration?
    /// By how much its boot clock is ahead of the machine's.
    var clockOffset: Int64 = 0
    /// The world has ended.
    var isOver = false
    /// What happens in the middle of one of its next calls of the disk.
    private var trap: (calls: Int, body: () -> Void)?
    /// What it has open.
    var sockets: [Int32: SimulatedSocket] = [:]
    private var lastDescriptor: Int32 = 2
    private(set) lazy var poller = SimulatedPoller(self)

    private var world: World { self.machine.world }
    var isDead: Bool { self.isOver || self.host.state == .isDead }

    init(_ host: Host, on machine: Machine, number: Int) {
        self.host = host
        self.machine = machine
        self.vfsName = "simulated\(number)"
        self.registration = SimulatedVFS.register(self.vfsName, disk: machine.disk, user: self, isDefault: true)
        host.ended.append { [unowned self] in self.died() }
        machine.world.ended.append { [unowned self] in self.registration?.end() }
    }

    private func died() {
        self.machine.disk.close(self)
        for number in self.sockets.keys.sorted() { self.sockets[number]?.close() }
        self.sockets = [:]
        self.trap = nil
    }

    func descriptor(of socket: SimulatedSocket) -> Int32 {
        self.lastDescriptor += 1
        self.sockets[self.lastDescriptor] = socket
        return self.lastDescriptor
    }

    func nextDescriptor() -> Int32 {
        self.lastDescriptor += 1
        return self.lastDescriptor
    }

    // MARK: Calls of the disk

    /// In the middle of a call after so many.
    func trap(after calls: Int, _ body: @escaping () -> Void) { self.trap = (calls, body) }

    func clearTrap() { self.trap = nil }

    func mayGoOn(_ call: String) -> Bool {
        guard !self.isDead else { return false }
        if self.world.trace.hasConversations { self.world.note(self.host, call) }
        if let trap = self.trap {
            self.trap?.calls -= 1
            if trap.calls <= 0 {
                self.trap = nil
                self.world.note(self.host, "is in the middle of its \(call)")
                trap.body()
                // Who stands still now goes on when it may.
                if self.host.state == .stands { self.wait(nanoseconds: 1) }
            }
        }
        // Others may come between any two calls.
        if self.world.generator.chance(1, of: 16) { self.wait(nanoseconds: self.world.duration(0...100_000)) }
        return !self.isDead
    }

    func wait(nanoseconds: Int64) {
        if !self.isOver { self.world.wait(self.host, nanoseconds: nanoseconds) }
    }

    func waitForDisk() { if !self.isOver { self.wait(nanoseconds: self.world.duration(self.machine.syncTime)) } }

    var wallClock: Int64 { self.isOver ? 0 : self.host.wallClock }

    func nextNumber() -> UInt64 { self.isOver ? 0 : self.world.generator.next() }
}
#endif
