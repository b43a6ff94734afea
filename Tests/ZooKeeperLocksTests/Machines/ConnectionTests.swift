import LockKernel
import NIOCore
import Testing

@testable import ZooKeeperLocks

@Suite struct ConnectionTests {
    private typealias Machine = ZooKeeperConnectionStateMachine<String>
    private let start = BootInstant.now

    private func opened() -> Machine {
        var machine = Machine(
            deadline: self.start + .seconds(5), patience: .seconds(5), now: self.start, limits: JuteLimits())
        machine.opened(timeout: .seconds(6))
        return machine
    }

    private func reply(
        xid: Int32, zxid: Int64 = 1, error: ZooKeeperCode = .ok, _ body: (inout ByteBuffer) -> Void = { _ in }
    )
        -> ByteBuffer
    {
        var buffer = ByteBuffer()
        ReplyHeader(xid: xid, zxid: zxid, error: error).write(into: &buffer)
        body(&buffer)
        return buffer
    }

    @Test func `requests are answered in the order in which they were sent`() {
        var machine = self.opened()
        let first = machine.sent(.delete(path: "/a"), completion: "a", at: self.start)
        let second = machine.sent(.delete(path: "/b"), completion: "b", at: self.start)
        #expect(first != second)
        guard case .answer(let a, _, _) = machine.frame(self.reply(xid: first)) else {
            Issue.record("the first answer")
            return
        }
        guard case .answer(let b, let header, _) = machine.frame(self.reply(xid: second, error: .noNode)) else {
            Issue.record("the second answer")
            return
        }
        #expect(a.completion == "a" && b.completion == "b" && header.error == .noNode)
    }

    // Z7
    @Test func `an answer that is not due closes the connection`() {
        var machine = self.opened()
        _ = machine.sent(.delete(path: "/a"), completion: "a", at: self.start)
        let second = machine.sent(.delete(path: "/b"), completion: "b", at: self.start)
        guard case .close = machine.frame(self.reply(xid: second)) else {
            Issue.record("out of order")
            return
        }
        var idle = self.opened()
        guard case .close = idle.frame(self.reply(xid: 1)) else {
            Issue.record("to nothing")
            return
        }
        guard case .close = idle.frame(ByteBuffer(bytes: [1, 2, 3])) else {
            Issue.record("too short")
            return
        }
    }

    @Test func `watch events and pings come in between`() {
        var machine = self.opened()
        let xid = machine.sent(.delete(path: "/a"), completion: "a", at: self.start)
        guard
            case .watch(let event) = machine.frame(
                self.reply(xid: -1) { WatchEvent(kind: .deleted, path: "/p").write(into: &$0) })
        else {
            Issue.record("a watch event")
            return
        }
        #expect(event.path == "/p" && event.kind == .deleted)
        guard case .nothing(zxid: 9) = machine.frame(self.reply(xid: -2, zxid: 9)) else {
            Issue.record("the answer to a ping")
            return
        }
        guard case .answer = machine.frame(self.reply(xid: xid)) else {
            Issue.record("the answer")
            return
        }
        guard case .authenticated(false) = machine.frame(self.reply(xid: -4, error: .authFailed)) else {
            Issue.record("wrong credentials")
            return
        }
    }

    @Test func `setting watches again is answered in its turn`() {
        var machine = self.opened()
        #expect(machine.sent(.setDataWatches(paths: [], relativeZxid: 1), completion: "w", at: self.start) == -8)
        let xid = machine.sent(.delete(path: "/a"), completion: "a", at: self.start)
        guard case .close = machine.frame(self.reply(xid: xid)) else {
            Issue.record("the watches were to be answered first")
            return
        }
    }

    @Test func `numbers go on at one`() {
        var machine = self.opened()
        var last: Int32 = 0
        for _ in 0..<3 { last = machine.sent(.delete(path: "/a"), completion: "", at: self.start) }
        #expect(last == 3)
    }

    @Test func `a silent connection is pinged after a third of the timeout and left after two thirds`() {
        var machine = self.opened()
        #expect(machine.timerFired(now: self.start) == .wait(until: self.start + .seconds(2)))
        #expect(machine.timerFired(now: self.start + .seconds(2)) == .ping(next: self.start + .seconds(4)))
        guard case .close = machine.timerFired(now: self.start + .seconds(4)) else {
            Issue.record("nothing was heard for two thirds of the timeout")
            return
        }
        machine = self.opened()
        machine.heard(now: self.start + .seconds(3))
        #expect(machine.timerFired(now: self.start + .seconds(3)) == .ping(next: self.start + .seconds(5)))
    }

    @Test func `a server that does not answer the greeting is left at the deadline`() {
        var machine = Machine(
            deadline: self.start + .seconds(5), patience: .seconds(5), now: self.start, limits: JuteLimits())
        #expect(machine.timerFired(now: self.start) == .wait(until: self.start + .seconds(5)))
        guard case .close = machine.timerFired(now: self.start + .seconds(5)) else {
            Issue.record("it did not answer")
            return
        }
    }

    @Test func `what is out when the connection ends has no answer, once`() {
        var machine = self.opened()
        _ = machine.sent(.delete(path: "/a"), completion: "a", at: self.start)
        #expect(machine.closed()?.map(\.completion) == ["a"])
        #expect(machine.closed() == nil)
    }
}
