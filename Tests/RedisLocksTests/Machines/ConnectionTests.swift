import LockKernel
import Testing

@testable import RedisLocks

@Suite struct ConnectionTests {
    @Test func `replies go to requests in the order in which they were sent`() {
        let talk = ConnectionTalk.active()
        #expect(talk.send("a") == "write a")
        #expect(talk.send("b") == "write b")
        #expect(talk.server(.text("1")) == "a: 1")
        #expect(talk.send("c") == "write c")
        #expect(talk.server(.text("2")) == "b: 2")
        #expect(talk.server(.text("3")) == "c: 3")
        #expect(talk.inFlightCount == 0)
    }

    @Test func `an error reply ends its request only`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        _ = talk.send("b")
        #expect(talk.server(.refusal("NOSCRIPT No matching script")) == "a: refused: h:1: NOSCRIPT No matching script")
        #expect(talk.server(.text("2")) == "b: 2")
    }

    @Test func `a cancelled request leaves its slot, which swallows its reply`() {
        let talk = ConnectionTalk.active()
        for name in ["a", "b", "c"] { _ = talk.send(name) }
        #expect(talk.cancel("b") == "b")
        #expect(talk.cancel("b") == "")
        #expect(talk.inFlightCount == 3)
        #expect(talk.server(.text("1")) == "a: 1")
        #expect(talk.server(.text("2")) == "nothing")
        #expect(talk.server(.text("3")) == "c: 3")
        #expect(talk.cancel("c") == "")
    }

    @Test func `pushes take no slot`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        #expect(talk.server(.push("message", "ch", "x")) == "push message ch x")
        #expect(talk.server(.text("1")) == "a: 1")
        #expect(talk.server(.push("invalidate")) == "push invalidate")
    }

    @Test func `a reply to no request closes the connection`() {
        let talk = ConnectionTalk.active()
        #expect(talk.server(.text("1")) == "close: unusableServer: h:1: the server sent a reply to no request")
    }

    @Test(arguments: ["subscribe", "psubscribe", "ssubscribe"])
    func `a subscription outside set-up would shift all replies, so it closes the connection`(kind: String) {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        #expect(
            talk.server(.push([.text(kind), .text("ch"), .integer(1)]))
                == "close: unusableServer: h:1: the server confirmed a subscription that is not part of the set-up"
        )
    }

    @Test func `the end of the connection leaves the outcome of all requests unknown, but orphans'`() {
        let talk = ConnectionTalk.active()
        for name in ["a", "b", "c"] { _ = talk.send(name) }
        _ = talk.cancel("b")
        #expect(talk.lost("reset") == "outcomeUnknown: h:1: reset; a: outcomeUnknown; c: outcomeUnknown")
        #expect(talk.lost("reset") == "nothing")
        #expect(talk.server(.text("1")) == "nothing")
    }

    @Test func `no more requests are out than allowed, orphans included`() {
        let talk = ConnectionTalk.active { $0.maximumInFlight = 2 }
        _ = talk.send("a")
        _ = talk.send("b")
        _ = talk.cancel("a")
        #expect(talk.send("c") == "c: notSent: h:1: 2 requests are out, the most allowed")
        #expect(talk.server(.text("1")) == "nothing")
        #expect(talk.send("d") == "write d")
    }

    @Test func `a request whose deadline has passed is not written`() {
        let talk = ConnectionTalk.active()
        #expect(talk.send("a", within: .zero) == "a: notSent: h:1: the deadline had passed before it was sent")
        #expect(talk.inFlightCount == 0)
    }
}

@Suite struct ConnectionTimeTests {
    @Test func `one timer serves all deadlines, armed for the earliest`() {
        let talk = ConnectionTalk.active { $0.silenceTimeout = .seconds(60) }
        _ = talk.fire()
        #expect(talk.timer == nil)
        _ = talk.send("a", within: .seconds(3))
        #expect(talk.timer == .seconds(3))
        _ = talk.send("b", within: .seconds(4))
        #expect(talk.timer == .seconds(3))
        _ = talk.send("c", within: .seconds(1))
        #expect(talk.timer == .seconds(1))
        talk.wait(.seconds(1))
        #expect(talk.fireTwice() == "c: outcomeUnknown: h:1: no reply by the deadline, arm 1.999 seconds")
        #expect(talk.server(.text("1")) == "a: 1")
        #expect(talk.server(.text("2")) == "b: 2")
        #expect(talk.server(.text("3")) == "nothing")
    }

    @Test func `the timer is left armed when replies come, and armed no more when nothing is out`() {
        let talk = ConnectionTalk.active()
        _ = talk.fire()
        for _ in 0..<100 {
            _ = talk.send("a")
            _ = talk.server(.text("1"))
            talk.wait(.milliseconds(1))
        }
        #expect(talk.timer == .seconds(1))
        talk.wait(.milliseconds(900))
        #expect(talk.fire() == "idle")
        #expect(talk.timer == nil)
    }

    @Test func `a timer that fires early is armed again`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a", within: .seconds(3))
        talk.wait(.seconds(1))
        #expect(talk.fire() == "arm 2.0 seconds")
    }

    @Test func `after a stop of the process, replies that have come count before deadlines that have passed`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        talk.wait(.seconds(3600))
        #expect(talk.fire() == "arm 0.001 seconds")
        #expect(talk.server(.text("1")) == "a: 1")
        talk.wait(.milliseconds(1))
        #expect(talk.fire() == "idle")
    }

    @Test func `a request that is sent in the grace turn does not cut it short`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        talk.wait(.seconds(2))
        #expect(talk.fire() == "arm 0.001 seconds")
        _ = talk.send("b")
        #expect(talk.timer == .seconds(2) + .milliseconds(1))
    }

    @Test func `deadlines close to each other cost one firing`() {
        let talk = ConnectionTalk.active()
        _ = talk.send("a", within: .milliseconds(10))
        _ = talk.send("b", within: .microseconds(11_100))
        talk.wait(.milliseconds(10))
        #expect(talk.fireTwice() == "a: outcomeUnknown: h:1: no reply by the deadline, arm 0.001 seconds")
        talk.wait(.milliseconds(1))
        #expect(talk.fireTwice() == "b: outcomeUnknown: h:1: no reply by the deadline, arm 4.987 seconds")
    }

    @Test func `a connection on which nothing arrives while requests are out is closed`() {
        let talk = ConnectionTalk.active { $0.silenceTimeout = .seconds(5) }
        talk.wait(.seconds(100))
        _ = talk.fire()
        _ = talk.send("a", within: .seconds(60))
        #expect(talk.timer == .seconds(105))
        talk.wait(.seconds(4))
        _ = talk.server(.push("message", "ch", "x"))
        talk.wait(.seconds(1))
        #expect(talk.fire() == "arm 4.0 seconds")
        talk.wait(.seconds(4))
        #expect(
            talk.fireTwice() == "close: outcomeUnknown: h:1: nothing arrived for 5 s while 1 requests were out"
        )
    }

    @Test func `an idle connection may be silent for ever`() {
        let talk = ConnectionTalk.active()
        talk.wait(.seconds(100_000))
        #expect(talk.fire() == "idle")
    }

    @Test func `silence counts orphans, too`() {
        let talk = ConnectionTalk.active { $0.silenceTimeout = .seconds(5) }
        _ = talk.send("a", within: .seconds(1))
        talk.wait(.seconds(1))
        #expect(talk.fireTwice().hasPrefix("a: outcomeUnknown"))
        talk.wait(.seconds(4))
        #expect(talk.fireTwice().hasPrefix("close: outcomeUnknown: h:1: nothing arrived for 5 s"))
    }
}
