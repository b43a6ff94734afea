import LockKernel
import Testing

@testable import RedisLocks

@Suite struct ClientTests {
    @Test func `requests wait for the first connection and leave in order`() {
        let talk = ClientTalk()
        #expect(talk.submit("a") == "wait")
        #expect(talk.run() == "connect #1")
        #expect(talk.submit("b") == "wait")
        #expect(talk.connected("one") == "announce, send a, b")
        #expect(talk.submit("c") == "send on one")
        #expect(talk.waitingCount == 0)
    }

    @Test func `a lost connection is made anew after a pause, under a greater number`() {
        let talk = ClientTalk()
        _ = talk.run()
        _ = talk.connected("one")
        #expect(talk.ended(.outcomeUnknown, "reset") == "retry")
        #expect(talk.state == .backingOff)
        #expect(talk.timer == .milliseconds(50))
        #expect(talk.submit("a") == "wait")
        talk.wait(.milliseconds(50))
        #expect(talk.fire() == "connect #2")
        #expect(talk.connected("two") == "announce, send a")
    }

    @Test func `the pause doubles with each failure up to a cap, and is drawn between nothing and that`() {
        let talk = ClientTalk()
        _ = talk.run()
        var pauses: [Duration] = []
        for _ in 0..<6 {
            let before = talk.now - talk.start
            _ = talk.ended(.notSent, "connection refused", random: 0.5)
            let pause = (talk.timer ?? .zero) - before
            pauses.append(pause)
            talk.wait(pause)
            #expect(talk.fire().hasPrefix("connect"))
        }
        #expect(pauses == [50, 100, 200, 400, 500, 500].map { .milliseconds($0) })
        _ = talk.ended(.notSent, "connection refused", random: 0)
        #expect(talk.timer == talk.now - talk.start + .milliseconds(1))
    }

    @Test func `a request that waits fails a little before its deadline, so that its caller hears why in time`() {
        let talk = ClientTalk { $0.waitingMargin = .milliseconds(20) }
        #expect(talk.submit("long", within: .seconds(1)) == "wait")
        #expect(talk.timer == .milliseconds(980))
        #expect(talk.submit("short", within: .milliseconds(40)) == "wait")
        #expect(talk.timer == .milliseconds(30))
        talk.wait(.milliseconds(30))
        #expect(talk.fire().hasPrefix("; short: notSent: h:1: not connected by the deadline"))
        talk.wait(.milliseconds(950))
        #expect(talk.fire().hasPrefix("; long: notSent"))
    }

    @Test func `a pause is cut short when there is reason to, and only a pause`() {
        let talk = ClientTalk()
        #expect(talk.hurry() == "nothing")
        _ = talk.run()
        #expect(talk.hurry() == "nothing")
        for _ in 0..<5 {
            _ = talk.ended(.notSent, "connection refused")
            #expect(talk.hurry().hasPrefix("connect"))
        }
        // The pauses have started anew.
        let before = talk.now - talk.start
        _ = talk.ended(.notSent, "connection refused", random: 0.5)
        #expect(talk.timer == before + .milliseconds(50))
        _ = talk.hurry()
        _ = talk.connected("one")
        #expect(talk.hurry() == "nothing")
        #expect(talk.submit("a") == "send on one")
    }

    @Test func `what belongs to one connection does not wait for another`() {
        let talk = ClientTalk()
        #expect(talk.submit("early", onlyOn: 1).hasPrefix("early: notSent"))
        _ = talk.run()
        #expect(talk.submit("while connecting", onlyOn: 1).hasPrefix("while connecting: notSent"))
        _ = talk.connected("one")
        #expect(talk.submit("a", onlyOn: 1) == "send on one")
        #expect(talk.submit("b", onlyOn: 2).hasPrefix("b: notSent"))
    }

    @Test func `a connection that lasted starts the pauses anew, one that did not makes them longer`() {
        let talk = ClientTalk()
        _ = talk.run()
        for _ in 0..<5 {
            _ = talk.connected("short")
            _ = talk.ended(.outcomeUnknown, "reset")
            talk.wait(.seconds(1))
            _ = talk.fire()
        }
        _ = talk.connected("short again")
        let before = talk.now - talk.start
        _ = talk.ended(.outcomeUnknown, "reset", random: 0.5)
        #expect(talk.timer == before + .milliseconds(500))
        talk.wait(.seconds(1))
        _ = talk.fire()
        _ = talk.connected("longer")
        talk.wait(.milliseconds(250))
        _ = talk.ended(.outcomeUnknown, "reset", random: 0.5)
        #expect(talk.timer == talk.now - talk.start + .milliseconds(50))
    }

    @Test func `connections that are given up one after another are made four times a second at most`() {
        let talk = ClientTalk()
        _ = talk.run()
        for _ in 0..<3 {
            _ = talk.connected("one")
            let before = talk.now - talk.start
            talk.wait(.milliseconds(30))
            _ = talk.ended(.outcomeUnknown, "READONLY", isGivenUp: true, random: 0)
            #expect(talk.timer == before + .milliseconds(250))
            talk.wait(.milliseconds(220))
            #expect(talk.fire().hasPrefix("connect"))
        }
        // One that lasted is replaced at once.
        _ = talk.connected("long")
        talk.wait(.milliseconds(250))
        _ = talk.ended(.outcomeUnknown, "READONLY", isGivenUp: true, random: 0)
        #expect(talk.timer == talk.now - talk.start + .milliseconds(1))
    }

    @Test func `while the server cannot be reached, requests wait until their deadline and are told why`() {
        let talk = ClientTalk()
        _ = talk.run()
        #expect(talk.submit("a", within: .milliseconds(30)) == "wait")
        #expect(talk.ended(.notSent, "connection refused") == "retry")
        #expect(talk.submit("b") == "wait")
        talk.wait(.milliseconds(30))
        #expect(talk.fire() == "; a: notSent: h:1: not connected by the deadline: connection refused")
        #expect(talk.waitingCount == 1)
        #expect(talk.submit("c", within: .zero) == "c: notSent: h:1: not connected by the deadline: connection refused")
    }

    @Test func `while a refusal stands, requests fail at once with it, until an attempt ends otherwise`() {
        let talk = ClientTalk()
        _ = talk.run()
        _ = talk.submit("a")
        #expect(talk.ended(.unusableServer, "WRONGPASS") == "retry; a: unusableServer: h:1: WRONGPASS")
        #expect(talk.submit("b") == "b: unusableServer: h:1: WRONGPASS")
        talk.wait(.milliseconds(50))
        #expect(talk.fire() == "connect #2")
        #expect(talk.submit("c") == "c: unusableServer: h:1: WRONGPASS")
        #expect(talk.ended(.notSent, "connection refused") == "retry")
        #expect(talk.submit("d") == "wait")
        talk.wait(.milliseconds(100))
        _ = talk.fire()
        _ = talk.ended(.unusableServer, "WRONGPASS")
        talk.wait(.milliseconds(200))
        _ = talk.fire()
        #expect(talk.connected("one") == "announce, send ")
        #expect(talk.submit("e") == "send on one")
    }

    @Test func `a violation on a connection that was used is no refusal: the next one may do`() {
        let talk = ClientTalk()
        _ = talk.run()
        _ = talk.connected("one")
        #expect(talk.ended(.unusableServer, "a reply to no request") == "retry")
        #expect(talk.submit("a") == "wait")
    }

    @Test func `no more requests wait than allowed`() {
        let talk = ClientTalk { $0.maximumWaiting = 2 }
        _ = talk.run()
        _ = talk.submit("a")
        _ = talk.submit("b")
        #expect(talk.submit("c") == "c: notSent: h:1: 2 requests wait for a connection already, the most allowed")
        #expect(talk.cancel("a") == "; a: cancelled: h:1: cancelled before it was sent")
        #expect(talk.submit("d") == "wait")
        #expect(talk.connected("one") == "announce, send b, d")
    }

    @Test func `before run, requests wait until their deadline`() {
        let talk = ClientTalk()
        #expect(talk.submit("a", within: .milliseconds(10)) == "wait")
        #expect(talk.timer == .milliseconds(10))
        talk.wait(.milliseconds(10))
        #expect(talk.fire() == "; a: notSent: h:1: not connected by the deadline: the client is not running")
    }

    @Test func `stopping closes what there is, and nothing is sent after that`() {
        let connected = ClientTalk()
        _ = connected.run()
        _ = connected.connected("one")
        #expect(connected.stop() == "close one")
        #expect(connected.submit("a") == "a: stopped: h:1: the client has been stopped")
        #expect(connected.ended(.stopped, "stopped") == "finish")
        #expect(connected.stop() == "nothing")

        let connecting = ClientTalk()
        _ = connecting.run()
        _ = connecting.submit("a")
        #expect(connecting.stop() == "abandon; a: notSent: h:1: the client was stopped before it was sent")
        #expect(connecting.connected("late") == "close")

        let idle = ClientTalk()
        #expect(idle.stop() == "finish")
        #expect(idle.run() == "finish")
        #expect(idle.state == .stopped)
    }
}
