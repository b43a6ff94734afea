import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

@Suite struct PushTests {
    @Test(arguments: ["unsubscribe", "punsubscribe", "sunsubscribe"])
    func `the end of a subscription is confirmed by no reply either, so it closes the connection`(kind: String) {
        let talk = ConnectionTalk.active()
        _ = talk.send("a")
        #expect(
            talk.server(.push([.text(kind), .null, .integer(0)]))
                == "close: unusableServer: h:1: the server confirmed a subscription that is not part of the set-up"
        )
    }

    @Test func `what a server pushes before set-up is over is bounded in bytes, too`() {
        let talk = ConnectionTalk { $0.setup = [RedisCommand("SUBSCRIBE", "ch")] }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        let large = RESPValue.push([.text("message"), .text("ch"), .text(String(repeating: "x", count: 400_000))])
        #expect(talk.server(large) == "nothing")
        #expect(talk.server(large) == "nothing")
        #expect(
            talk.server(large) == "close: notSent: h:1: the server pushed too much before the connection was set up"
        )
    }
}

@Suite struct WaitingErrorTests {
    @Test func `a request that waited tells with which code the server put it off`() {
        let talk = ClientTalk()
        _ = talk.run()
        _ = talk.submit("a", within: .milliseconds(10))
        talk.wait(.milliseconds(10))
        #expect(talk.fire() == "; a: notSent: h:1: not connected by the deadline: no server is found yet")
        talk.attempt()
        _ = talk.submit("a", within: .milliseconds(300))
        talk.wait(.milliseconds(300))
        #expect(talk.fire() == "; a: notSent: h:1: not connected by the deadline: no connection within 300 ms")
        talk.accepted()
        _ = talk.submit("a", within: .seconds(2))
        talk.wait(.seconds(2))
        #expect(
            talk.fire()
                == "; a: notSent: h:1: not connected by the deadline: the server accepted the connection but did not answer "
                + "HELLO within 2 s (a port that speaks TLS may do so when it is spoken to in clear)")
        _ = talk.ended(.notSent, "not ready: LOADING", serverCode: "LOADING")
        #expect(
            talk.submit("b", within: .zero)
                == "b: notSent: h:1: not connected by the deadline: not ready: LOADING [LOADING]"
        )
    }
}
