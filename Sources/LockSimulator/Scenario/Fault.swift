/// What can go wrong in a run.
struct Fault {
    let name: String
    /// How long it lasts, as a part of what is drawn.
    let parts: Int64
    /// Begins it for a client. What is returned ends it; `nil`: it is over at once.
    let begin: (SimulatedClient) -> (() -> Void)?

    init(_ name: String, parts: Int64 = 1, begin: @escaping (SimulatedClient) -> (() -> Void)?) {
        self.name = name
        self.parts = parts
        self.begin = begin
    }
}

/// A fault of a run, drawn before it begins: one can be left out, and the others stay what they are.
struct PlannedFault {
    /// Since the clients have begun, in nanoseconds.
    let time: Int64
    let length: Int64
    private let number: UInt64

    static func plan(seed: UInt64, length: Int64) -> [PlannedFault] {
        var generator = SimulationGenerator(seed: ~seed)
        func draw(_ range: ClosedRange<Int64>) -> Int64 {
            range.lowerBound + Int64(generator.next(upTo: UInt64(range.upperBound - range.lowerBound + 1)))
        }
        var faults: [PlannedFault] = []
        var time = draw(100_000_000...4_000_000_000)
        while time < length {
            let longest: Int64 = generator.chance(1, of: 4) ? 15_000_000_000 : 2_000_000_000
            faults.append(PlannedFault(time: time, length: draw(50_000_000...longest), number: generator.next()))
            time += draw(100_000_000...4_000_000_000)
        }
        return faults
    }

    func pick(_ faults: [Fault]) -> Fault { faults[Int(self.number % UInt64(faults.count))] }
}

/// A server of a run, which faults meet.
protocol SimulatedServer: AnyObject {
    var host: Host { get }
    var isRunning: Bool { get }
    /// Loses power. What it still has when it starts again depends on how it keeps its data.
    func crash()
    func start()
    /// It answers, and does not do what it is asked; or does it again.
    func setRefusing(_ isRefusing: Bool)
    /// What it has, for people who look for what went wrong.
    func dump() -> String
}

/// What meets the servers of a run, and the ways to them.
struct ServerFaults {
    let servers: [any SimulatedServer]
    let network: SimulatedNetwork

    private var world: World { self.network.world }

    private func any() -> any SimulatedServer { self.world.generator.pick(self.servers) }

    var all: [Fault] {
        [
            Fault("cut connection") { client in
                let server = self.any()
                self.world.note(client.host, "its connections are cut")
                self.network.cut(client.host, server.host)
                return nil
            },
            Fault("partition") { client in
                let server = self.any()
                self.network.block(client.host, server.host)
                return { self.network.unblock(client.host, server.host) }
            },
            Fault("stopped server", parts: 4) { _ in
                let server = self.any()
                server.host.stop()
                return { server.host.resume() }
            },
            Fault("restarted server", parts: 4) { _ in
                let server = self.any()
                server.crash()
                return { if !server.isRunning { server.start() } }
            },
            Fault("refusing server", parts: 4) { _ in
                let server = self.any()
                self.world.note(server.host, "refuses to write")
                server.setRefusing(true)
                return { server.setRefusing(false) }
            },
        ]
    }

    /// All is well from now on.
    func heal(_ clients: [SimulatedClient]) {
        for server in self.servers {
            server.setRefusing(false)
            server.host.resume()
            if !server.isRunning { server.start() }
            for client in clients { self.network.unblock(client.host, server.host) }
        }
    }
    func dump() {
        for server in self.servers { self.world.note(server.host, server.dump()) }
    }
}
