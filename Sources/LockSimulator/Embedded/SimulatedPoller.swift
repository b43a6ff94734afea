#if Embedded
import EmbeddedLocks
import LockKernel

/// Tells a process of a simulated machine of its sockets, some time after something has come, and again as long as it is there.
/// Used by the steps of one world, of which one runs at a time.
final class SimulatedPoller: SocketPoller, @unchecked Sendable {
    private struct Entry {
        let descriptor: Int32
        let isOnce: Bool
        var isPaused = false
        let ready: @Sendable () -> Void
    }

    private unowned let process: MachineProcess
    private let source: World.Source
    private var entries: [UInt64: Entry] = [:]
    private var lastNumber: UInt64 = 0
    private var isLooking = false

    private var world: World { self.process.machine.world }
    private static let latency: ClosedRange<Int64> = 2_000...300_000

    init(_ process: MachineProcess) {
        self.process = process
        self.source = process.machine.world.makeSource(process.host, "sockets")
    }

    func watch(_ socket: Int32, isOnce: Bool, ready: @escaping @Sendable () -> Void) -> SocketWatch {
        self.lastNumber += 1
        self.entries[self.lastNumber] = Entry(descriptor: socket, isOnce: isOnce, ready: ready)
        self.changed()
        return SocketWatch(number: self.lastNumber)
    }

    func cancel(_ watch: SocketWatch) {
        guard let entry = self.entries.removeValue(forKey: watch.number) else { return }
        self.close(entry.descriptor)
    }

    func pause(_ watch: SocketWatch) { self.entries[watch.number]?.isPaused = true }

    func resume(_ watch: SocketWatch) {
        self.entries[watch.number]?.isPaused = false
        self.changed()
    }

    private func close(_ descriptor: Int32) { SimulatedSockets(process: self.process).close(descriptor) }

    private func isReady(_ number: UInt64) -> Bool {
        guard let entry = self.entries[number], !entry.isPaused else { return false }
        return self.process.sockets[entry.descriptor]?.isReadable ?? false
    }

    /// One of the sockets may have something.
    func changed() {
        guard !self.process.isDead, !self.isLooking, self.entries.keys.contains(where: { self.isReady($0) }) else {
            return
        }
        self.isLooking = true
        self.world.enqueue(self.source, at: self.world.time + self.world.duration(Self.latency)) { self.look() }
    }

    private func look() {
        var ready = self.entries.keys.sorted().filter { self.isReady($0) }
        // The kernel tells of several in any order.
        ready.shuffle(using: &self.world.generator)
        for number in ready {
            guard let entry = self.entries[number] else { continue }
            if entry.isOnce { self.entries[number] = nil }
            entry.ready()
            if entry.isOnce { self.close(entry.descriptor) }
        }
        self.isLooking = false
        self.changed()
    }
}
#endif
