import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

/// The session: what comes first, what proves that it lives, and its end.
@Suite struct SessionMachineTests {
    private static let name = Array(MachineTalk.ensemble.utf8)
    private var talk = MachineTalk()

    private static func created(_ path: String = "") -> ZooKeeperAnswer { .created(path: path, stat: NodeStat()) }

    // MARK: Set-up

    @Test mutating func `a session is open when the history's name is read and its own node is made`() {
        #expect(self.talk.tell(.started) == ["connect"])
        #expect(self.talk.request(1) == ["start request 1 5.0 seconds"])
        #expect(self.talk.attached() == ["publish 8.0 seconds", "getData dlock.ensemble"])
        #expect(
            self.talk.answer("getData dlock.ensemble", .data(Self.name, NodeStat()))
                == ["create ephemeral dlock.sessions/0x7"])
        // What was asked before is asked now.
        #expect(
            self.talk.answer("create ephemeral dlock.sessions/0x7", Self.created()) == [
                "finish set-up", "wake beat in 2.0 seconds", "setData dlock.sessions/0x7", "await the turn's end",
            ])
    }

    @Test mutating func `what is missing is made, the chroot first`() {
        var talk = MachineTalk(chroot: "/team/locks")
        _ = talk.attached()
        let ensemble = "/team/locksdlock.ensemble"
        #expect(talk.refuse("getData \(ensemble)", .noNode) == ["create persistent /team"])
        #expect(talk.refuse("create persistent /team", .nodeExists) == ["create persistent /team/locks"])
        #expect(
            talk.answer("create persistent /team/locks", Self.created()) == ["create persistent \(ensemble)"])
        #expect(talk.answer("create persistent \(ensemble)", Self.created()) == ["getData \(ensemble)"])
        let node = "create ephemeral /team/locksdlock.sessions/0x7"
        #expect(talk.answer("getData \(ensemble)", .data(Self.name, NodeStat())) == [node])
        let sessions = "create container /team/locksdlock.sessions"
        #expect(talk.refuse(node, .noNode) == [sessions])
        // A server before 3.5.
        #expect(
            talk.refuse(sessions, .unimplemented) == [sessions.replacing("container", with: "persistent")])
        #expect(
            talk.answer(sessions.replacing("container", with: "persistent"), Self.created()) == [node])
        #expect(talk.answer(node, Self.created()).first == "finish set-up")
    }

    @Test mutating func `a server that refuses what must come first is left, and who waits is told why`() {
        _ = self.talk.attached()
        _ = self.talk.request(1)
        _ = self.talk.inquire(.names)
        let reason =
            "no permission on / without a user: give user and password in the URL, or the password by password-file or "
            + "password-env"
        #expect(self.talk.refuse("getData dlock.ensemble", .noAuth) == ["leave the server, refused: \(reason)"])
        #expect(
            self.talk.suspended(.unusableServer) == [
                "silence beat", "cancel request 1", "answer 1: serverRefused: the connection has ended",
                "cancel inquiry 1000", "answer 1000: serverRefused: the connection has ended",
            ])
        // While that is so nobody waits for it.
        #expect(self.talk.request(2) == ["answer 2: serverRefused: the connection has ended"])
        #expect(self.talk.inquire(.names) == ["answer 1000: serverRefused: the connection has ended"])
        #expect(self.talk.inquire(.trouble) == ["answer 1000: trouble: the connection has ended"])
        // The next server is asked anew.
        #expect(self.talk.attached(isNew: false) == ["getData dlock.ensemble"])
        _ = self.talk.answer("getData dlock.ensemble", .data(Self.name, NodeStat()))
        _ = self.talk.answer("create ephemeral dlock.sessions/0x7", Self.created())
        #expect(self.talk.request(2) == ["start request 2 5.0 seconds", "await the turn's end"])
        #expect(self.talk.inquire(.trouble) == ["answer 1000: trouble: none"])
    }

    @Test mutating func `what stands where the history's name should be, and is none, is refused`() {
        _ = self.talk.attached()
        #expect(
            self.talk.answer("getData dlock.ensemble", .data([1, 2, 3], NodeStat()))
                == ["leave the server, refused: /dlock.ensemble is not what this package put there"])
    }

    @Test mutating func `a step that lost its answer is begun anew on the next connection`() {
        _ = self.talk.attached()
        #expect(self.talk.suspended() == ["silence beat"])
        #expect(self.talk.attached(isNew: false) == ["getData dlock.ensemble"])
    }

    @Test mutating func `a lease that is shorter than the session's timeout is refused, whenever that is known`() {
        _ = self.talk.request(1, lease: .seconds(7))
        let refused =
            "invalidConfiguration: a lease here is the session's timeout, 8 s, and 7 s is less: ask for a "
            + "longer lease, or for a shorter session-timeout"
        #expect(
            self.talk.attached() == [
                "publish 8.0 seconds", "cancel request 1", "answer 1: \(refused)", "getData dlock.ensemble",
            ])
        #expect(self.talk.request(2, lease: .seconds(7)) == ["answer 2: \(refused)"])
    }

    // MARK: Proof of life

    @Test mutating func `a write is sent an eighth of the timeout after the one before, when that was answered`() {
        self.talk = .open()
        self.talk.wait(.seconds(1))
        #expect(
            self.talk.tell(.alarmFired(.beat)) == ["wake beat in 2.0 seconds", "setData dlock.sessions/0x7"])
        #expect(
            self.talk.answer("setData dlock.sessions/0x7", .stat(NodeStat()))
                == ["tell the session is extended", "wake beat in 1.0 seconds"])
    }

    @Test mutating func `a server that leaves a write without an answer is left`() {
        self.talk = .open()
        _ = self.talk.tell(.alarmFired(.beat))
        self.talk.wait(.seconds(2))
        #expect(
            self.talk.tell(.alarmFired(.beat)) == ["leave the server: a write has had no answer for 2 s"])
    }

    @Test mutating func `the session's node is made again when an operator has deleted it`() {
        self.talk = .open()
        _ = self.talk.tell(.alarmFired(.beat))
        #expect(
            self.talk.refuse("setData dlock.sessions/0x7", .noNode) == ["create ephemeral dlock.sessions/0x7"])
        #expect(
            self.talk.refuse("create ephemeral dlock.sessions/0x7", .noNode) == ["create container dlock.sessions"])
        #expect(
            self.talk.answer("create container dlock.sessions", Self.created()) == ["wake beat in 1.0 seconds"])
    }

    @Test mutating func `nobody is granted a lock while the session cannot be relied on, and then whoever is first`() {
        self.talk = .open()
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        // What has been proved ends in less than an eighth of the timeout.
        self.talk.wait(.milliseconds(3_500))
        let node = self.talk.node(1, made: 1, number: 5)
        _ = self.talk.answer("create a/c1.1-", self.talk.made(node, czxid: 50), zxid: 50)
        #expect(self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 50))) == [])
        _ = self.talk.tell(.alarmFired(.beat))
        #expect(
            self.talk.answer("setData dlock.sessions/0x7", .stat(NodeStat())) == [
                "tell the session is extended", "wake beat in 1.0 seconds", "start claim 1 0.02 seconds",
                "cancel request 1", "answer 1: granted with 50",
            ])
    }

    // MARK: The end of a session

    @Test mutating func `with a session its grants are lost, and who still waits for an answer gets one of the next`() {
        self.talk = .open()
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        #expect(
            self.talk.tell(.expired(MachineTalk.session)) == [
                "tell the session is lost", "cancel request 1", "answer 1: outcomeUnknown: the session has expired",
            ])
        #expect(self.talk.request(1) == ["start request 1 5.0 seconds"])
        let next = ZooKeeperSession(id: 8, password: [], timeout: .seconds(8))
        #expect(self.talk.attached(session: next) == ["publish 8.0 seconds", "getData dlock.ensemble"])
        _ = self.talk.answer("getData dlock.ensemble", .data(Self.name, NodeStat()))
        #expect(
            self.talk.answer("create ephemeral dlock.sessions/0x8", Self.created()).last == "await the turn's end")
        #expect(self.talk.turnEnds() == ["create a/c1.2-", "getChildren a"])
    }

    /// Locks have been held and given back; their folders are known.
    private mutating func use(_ locks: [String]) {
        for (index, lock) in locks.enumerated() {
            let attempt = UInt64(index) + 1
            _ = self.talk.request(attempt, lock)
            _ = self.talk.turnEnds()
            let node = self.talk.node(attempt, made: UInt16(attempt), number: 0)
            _ = self.talk.answer(
                "create \(lock)/c\(attempt).\(attempt)-", self.talk.made(node, in: lock, czxid: 50), zxid: 50)
            #expect(
                self.talk.answer("getChildren \(lock)", .children([node], NodeStat(pzxid: 50))).last
                    == "answer \(attempt): granted with 50")
            _ = self.talk.withdraw(attempt)
        }
    }

    /// The order of folders is nobody's concern.
    private var deletesOfBoth: String {
        ["together: delete a, delete b", "together: delete b, delete a"].first { self.talk.isOut.contains($0) } ?? ""
    }

    @Test mutating func `a client that ends deletes its folders, and then ends the session`() {
        self.talk = .open()
        self.use(["a", "b"])
        let ended = self.talk.tell(.ended)
        // What was given back comes first.
        #expect(
            ended.dropLast() == [
                "cancel writes", "delete b/c2.2-0000000000", "silence sweep",
                "wake sweep in 0.5 seconds",
            ])
        // Somebody has come into one of them.
        let asked = self.talk.refuse(self.deletesOfBoth, .notEmpty)
        #expect(Set(asked) == ["delete a", "delete b"])
        #expect(self.talk.answer(asked.first ?? "", .done) == [])
        #expect(self.talk.refuse(asked.last ?? "", .notEmpty) == ["end the session"])
        // What is asked now would not be sent.
        #expect(self.talk.request(3) == ["start request 3 5.0 seconds"])
        #expect(
            self.talk.tell(.stopped) == [
                "silence beat", "silence ghosts", "silence sweep", "cancel request 3",
                "answer 3: clientNotRunning: the backend has ended", "finish",
            ])
    }

    @Test mutating func `a client that ends waits half a second for its folders`() {
        self.talk = .open()
        self.use(["a", "b"])
        _ = self.talk.tell(.ended)
        #expect(self.talk.tell(.alarmFired(.sweep)) == ["end the session"])
        #expect(self.talk.answer(self.deletesOfBoth, .multi([.done, .done])) == [])
    }

    @Test mutating func `the end of the session follows on the heels of a single folder's delete`() {
        self.talk = .open()
        self.use(["a"])
        #expect(
            self.talk.tell(.ended) == [
                "cancel writes", "delete a/c1.1-0000000000", "silence sweep", "delete a", "end the session",
            ])
    }

    @Test mutating func `folders that nobody uses are deleted by the second sweep, and not those in use`() {
        self.talk = .open()
        self.use(["a", "b", "c"])
        _ = self.talk.fire(.writes)
        for node in ["a/c1.1", "b/c2.2", "c/c3.3"] {
            #expect(self.talk.answer("delete \(node)-0000000000", .done) == [])
        }
        #expect(self.talk.tell(.alarmFired(.sweep)) == ["wake sweep in 1.0 seconds"])
        _ = self.talk.request(4, "c")
        _ = self.talk.turnEnds()
        let asked = self.talk.tell(.alarmFired(.sweep))
        #expect(asked == [self.deletesOfBoth, "wake sweep in 1.0 seconds"])
        #expect(self.talk.answer(self.deletesOfBoth, .multi([.done, .done])) == [])
    }
}
