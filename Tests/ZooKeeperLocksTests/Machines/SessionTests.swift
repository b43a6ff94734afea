import LockKernel
import LockTransport
import Testing

@testable import ZooKeeperLocks

@Suite struct SessionTests {
    private let start = BootInstant.now

    private func machine(servers: Int = 3) -> ZooKeeperSessionStateMachine {
        ZooKeeperSessionStateMachine(
            ZooKeeperClientConfiguration(
                endpoints: (0..<servers).map { .tcp(host: "z\($0)", port: 2181) },
                sessionTimeout: .seconds(10),
                backoffBase: .milliseconds(100),
                backoffCap: .seconds(1)
            ),
            first: 0
        )
    }

    private func granted(_ id: Int64 = 7, timeout: Int32 = 6_000) -> ConnectResponse {
        ConnectResponse(timeoutMilliseconds: timeout, sessionID: id, password: Array(repeating: 9, count: 16))
    }

    private func open(_ machine: inout ZooKeeperSessionStateMachine) {
        #expect(machine.started() == 0)
        guard case .attached = machine.greeted(self.granted()) else {
            Issue.record("a granted session is attached")
            return
        }
        #expect(machine.setUpFinished(now: self.start) == true)
    }

    @Test func `the first greeting asks for a session, the next ones for the same`() {
        var machine = self.machine()
        #expect(machine.started() == 0)
        let first = machine.greeting()
        #expect(first.sessionID == 0 && first.timeoutMilliseconds == 10_000 && first.lastZxidSeen == 0)
        guard case .attached(let session, isNew: true) = machine.greeted(self.granted()) else {
            Issue.record("a new session")
            return
        }
        #expect(session.timeout == .seconds(6))
        #expect(!machine.isOpen)
        #expect(machine.setUpFinished(now: self.start) == true)
        #expect(machine.isOpen)
        machine.saw(zxid: 55)
        machine.saw(zxid: 44)
        #expect(machine.ended(now: self.start, random: 0) == .connect(server: 1))
        let second = machine.greeting()
        #expect(second.sessionID == 7 && second.password == Array(repeating: 9, count: 16))
        #expect(second.lastZxidSeen == 55 && second.timeoutMilliseconds == 6_000)
        guard case .attached(_, isNew: false) = machine.greeted(self.granted()) else {
            Issue.record("the same session")
            return
        }
    }

    @Test func `every server is tried before there is a pause, which grows`() {
        var machine = self.machine()
        #expect(machine.started() == 0)
        var pauses: [Duration] = []
        var server = 0
        for _ in 0..<6 {
            for _ in 0..<2 {
                server = (server + 1) % 3
                #expect(machine.ended(now: self.start, random: 0.5) == .connect(server: server))
            }
            guard case .wait(let until) = machine.ended(now: self.start, random: 0.5) else {
                Issue.record("a pause")
                return
            }
            pauses.append(self.start.duration(to: until))
            #expect(machine.timerFired(now: self.start) == .wait(until: until))
            server = (server + 1) % 3
            #expect(machine.timerFired(now: until) == .connect(server: server))
        }
        #expect(pauses == [50, 100, 200, 400, 500, 500].map { .milliseconds($0) })
    }

    @Test func `a server that takes the session and closes at once is not tried without a pause`() {
        var machine = self.machine(servers: 1)
        self.open(&machine)
        var pauses: [Duration] = []
        var now = self.start
        for _ in 0..<5 {
            now = now.advanced(by: .milliseconds(100))
            guard case .wait(let until) = machine.ended(now: now, random: 0.5) else {
                Issue.record("a pause")
                return
            }
            pauses.append(now.duration(to: until))
            #expect(machine.timerFired(now: until) == .connect(server: 0))
            now = until
            _ = machine.greeted(self.granted())
            #expect(machine.setUpFinished(now: now) == true)
        }
        #expect(pauses == [50, 100, 200, 400, 500].map { .milliseconds($0) })
        // One that was of use for a while is tried again at once, as are the others.
        now = now.advanced(by: .seconds(1))
        var other = self.machine(servers: 2)
        self.open(&other)
        #expect(other.ended(now: self.start.advanced(by: .seconds(1)), random: 0.5) == .connect(server: 1))
        #expect(other.ended(now: now, random: 0.5) == .connect(server: 0))
        #expect(machine.ended(now: now, random: 0.5) == .connect(server: 0))
    }

    @Test func `an expired session is told, and a new one asked for from the same server`() {
        var machine = self.machine()
        self.open(&machine)
        #expect(machine.ended(now: self.start, random: 0) == .connect(server: 1))
        guard case .expired(let session) = machine.greeted(self.granted(timeout: 0)) else {
            Issue.record("it has expired")
            return
        }
        #expect(session.id == 7)
        #expect(machine.endedAfterExpiry() == .connect(server: 1))
        #expect(machine.greeting().sessionID == 0)
        guard case .attached(_, isNew: true) = machine.greeted(self.granted(8)) else {
            Issue.record("a new session")
            return
        }
    }

    @Test func `a server that is read-only, or answers with another session, is refused`() {
        var machine = self.machine()
        _ = machine.started()
        var response = self.granted()
        response.isReadOnly = true
        guard case .refuse = machine.greeted(response) else {
            Issue.record("a read-only server must not be used")
            return
        }
        machine = self.machine()
        self.open(&machine)
        _ = machine.ended(now: self.start, random: 0)
        guard case .refuse = machine.greeted(self.granted(8)) else {
            Issue.record("somebody else's session must not be used")
            return
        }
    }

    @Test
    func `a server that settles on less for the same session ends it, one that settles on more does not lengthen it`() {
        var machine = self.machine()
        self.open(&machine)
        _ = machine.ended(now: self.start, random: 0)
        guard case .attached(let session, isNew: false) = machine.greeted(self.granted(timeout: 9_000)) else {
            Issue.record("the same session")
            return
        }
        #expect(session.timeout == .seconds(6))
        _ = machine.ended(now: self.start, random: 0)
        guard case .expired = machine.greeted(self.granted(timeout: 4_000)) else {
            Issue.record("those who rely on it were promised more")
            return
        }
    }

    @Test func `a client that stops closes its session, and awaits the end of what it has`() {
        var machine = self.machine()
        self.open(&machine)
        #expect(machine.stopped() == .closeSession)
        #expect(machine.stopped() == .none)
        machine.sessionClosed()
        #expect(machine.ended(now: self.start, random: 0) == .finish)
        var idle = self.machine()
        #expect(idle.stopped() == .finish)
        #expect(idle.started() == nil)
        var new = self.machine()
        _ = new.started()
        #expect(new.stopped() == .close)
        #expect(new.greeted(self.granted()) == .close)
        #expect(new.ended(now: self.start, random: 0) == .finish)
    }

    @Test func `a client that stops without a connection makes another one to close its session`() {
        var machine = self.machine()
        self.open(&machine)
        _ = machine.ended(now: self.start, random: 0)
        #expect(machine.stopped() == .connect(server: nil))
        // The pauses of a client that goes on are too long for one that ends.
        var servers: Set<Int> = []
        var pauses = 0
        for _ in 0..<8 {
            switch machine.ended(now: self.start, random: 0.99) {
            case .connect(let server): servers.insert(server)
            case .wait(let until):
                #expect(until <= self.start.advanced(by: .milliseconds(100)))
                pauses += 1
                guard case .connect(let server) = machine.timerFired(now: until) else {
                    Issue.record("it goes on")
                    return
                }
                servers.insert(server)
            case .finish: Issue.record("the session is still there")
            }
        }
        #expect(servers.count > 1 && pauses > 1)
        guard case .closeSession = machine.greeted(self.granted()) else {
            Issue.record("the session is to be closed")
            return
        }
        // The answer was lost: it is sought again, and found to be done.
        _ = machine.ended(now: self.start, random: 0)
        #expect(machine.greeted(self.granted(timeout: 0)) == .close)
        #expect(machine.ended(now: self.start, random: 0) == .finish)
    }

    @Test func `a client that cannot close its session in time ends without`() {
        var machine = self.machine()
        self.open(&machine)
        _ = machine.ended(now: self.start, random: 0)
        _ = machine.stopped()
        machine.leavingGivenUp()
        #expect(machine.greeted(self.granted()) == .close)
        #expect(machine.ended(now: self.start, random: 0) == .finish)
    }

    @Test func `neither errors nor configurations show the password`() {
        let configuration = ZooKeeperClientConfiguration(
            endpoints: [.tcp(host: "z", port: 2181)], digest: "me:secret")
        var text = "\(configuration)"
        dump(configuration, to: &text)
        var machine = ZooKeeperSessionStateMachine(configuration, first: 0)
        _ = machine.started()
        guard case .attached(let session, _) = machine.greeted(self.granted()) else { return }
        dump(session, to: &text)
        #expect(!text.contains("secret") && !text.contains("password"))
    }
}
