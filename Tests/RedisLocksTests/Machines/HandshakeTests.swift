import LockKernel
import LockTransport
import Testing

@testable import RedisLocks

@Suite struct HandshakeTests {
    @Test func `a connection without options is active once its greeting was found fine`() {
        let talk = ConnectionTalk()
        #expect(talk.greeting == "HELLO 3 | PING")
        #expect(talk.server(.hello()) == "check redis 7.0.15")
        #expect(talk.check(nil) == "nothing")
        #expect(talk.server(.text("PONG")) == "active")
    }

    @Test func `user, password and client name travel with the greeting`() {
        let talk = ConnectionTalk {
            $0.username = "me"
            $0.password = "pw"
            $0.clientName = "tester"
        }
        #expect(talk.greeting == "HELLO 3 AUTH me pw SETNAME tester | PING")
        #expect(ConnectionTalk { $0.password = "pw" }.greeting == "HELLO 3 AUTH default pw | PING")
        #expect(ConnectionTalk { $0.username = "me" }.greeting == "HELLO 3 AUTH me  | PING")
    }

    @Test func `database and set-up leave together, and a subscription is confirmed by a push for each channel`() {
        let talk = ConnectionTalk {
            $0.database = 3
            $0.setup = [RedisCommand("SUBSCRIBE", "a", "b"), RedisCommand("CLIENT", "NO-EVICT", "on")]
        }
        _ = talk.server(.hello())
        #expect(talk.check(nil) == "write SELECT 3 | SUBSCRIBE a b | CLIENT NO-EVICT on")
        #expect(talk.server(.text("PONG")) == "nothing")
        #expect(talk.server(.text("OK")) == "nothing")
        #expect(talk.server(.push([.text("subscribe"), .text("a"), .integer(1)])) == "nothing")
        #expect(talk.server(.push([.text("subscribe"), .text("b"), .integer(2)])) == "nothing")
        #expect(talk.server(.text("OK")) == "active")
    }

    @Test func `what is published before set-up is over is delivered when the connection is announced`() {
        let talk = ConnectionTalk { $0.setup = [RedisCommand("SUBSCRIBE", "a"), RedisCommand("PING")] }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        #expect(talk.server(.push([.text("subscribe"), .text("a"), .integer(1)])) == "nothing")
        #expect(talk.server(.push("message", "a", "1")) == "nothing")
        #expect(talk.server(.push("message", "a", "2")) == "nothing")
        #expect(talk.server(.text("PONG")) == "active, push message a 1, push message a 2")
    }

    @Test func `a server that floods a connection before it is set up is not waited for`() {
        let talk = ConnectionTalk { $0.setup = [RedisCommand("PING")] }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        for _ in 0..<256 { #expect(talk.server(.push("message", "a", "1")) == "nothing") }
        #expect(
            talk.server(.push("message", "a", "1"))
                == "close: notSent: h:1: the server pushed too much before the connection was set up"
        )
    }

    @Test func `a refusal by the configuration makes the server unusable`() {
        let talk = ConnectionTalk()
        _ = talk.server(.hello())
        #expect(talk.check("it is a replica") == "close: unusableServer: h:1: it is a replica")
    }

    @Test(
        arguments: [
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                "unusableServer: h:1: the server does not know this user with this password (WRONGPASS): give user and"
            ),
            (
                "NOAUTH HELLO must be called with the client already authenticated",
                "unusableServer: h:1: the server asks for a password (NOAUTH): give user and"
            ),
            ("NOPERM this user has no permissions", "unusableServer: h:1: HELLO was refused: NOPERM"),
            (
                "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `hunter2`, ",
                "unusableServer: h:1: the server does not know HELLO: Redis 6 or later is needed"
            ),
            ("ERR odd: hunter2 it was", "unusableServer: h:1: HELLO was refused: ERR odd: … it was"),
            ("LOADING Redis is loading the dataset in memory", "notSent: h:1: not ready: LOADING"),
            ("BUSY Redis is busy running a script", "notSent: h:1: not ready: BUSY"),
            ("ERR max number of clients reached", "notSent: h:1: ERR max number of clients reached"),
        ]
    )
    func `an error in reply to the greeting is told from a server that is not ready`(text: String, expected: String) {
        let talk = ConnectionTalk { $0.password = "hunter2" }
        let said = talk.server(.refusal(text))
        #expect(said.hasPrefix("close: \(expected)"), "\(said)")
        #expect(!said.contains("hunter2"))
    }

    @Test func `an error in reply to set-up names the command`() {
        let talk = ConnectionTalk {
            $0.database = 99
            $0.setup = [RedisCommand("SUBSCRIBE", "a")]
        }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        #expect(
            talk.server(.refusal("ERR DB index is out of range"))
                == "close: unusableServer: h:1: SELECT was refused: ERR DB index is out of range"
        )
    }

    @Test func `what is not the reply of a greeting is not a Redis server's`() {
        for value: RESPValue in [.text("OK"), .integer(1), .array([]), .hello(proto: 2), .push("message", "a", "1")] {
            #expect(
                ConnectionTalk().server(value)
                    == "close: unusableServer: h:1: not a Redis server: its reply to HELLO is something else"
            )
        }
    }

    @Test func `a reply that is no confirmation, and a confirmation of another kind, do not pass for one`() {
        let talk = ConnectionTalk { $0.setup = [RedisCommand("SUBSCRIBE", "a")] }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        _ = talk.server(.text("PONG"))
        #expect(talk.server(.push([.text("psubscribe"), .text("a"), .integer(1)])) == "nothing")
        #expect(
            talk.server(.text("OK"))
                == "close: unusableServer: h:1: the server answered SUBSCRIBE with something else than a confirmation"
        )
    }

    @Test func `a silent server is given up at the connect timeout, and told apart from one that closes`() {
        let silent = ConnectionTalk(connectTimeout: .seconds(2))
        #expect(silent.timer == .seconds(2))
        silent.wait(.seconds(2))
        #expect(
            silent.fireTwice()
                == "close: notSent: h:1: the server accepted the connection but did not answer HELLO within 2 s "
                + "(a port that speaks TLS may do so when it is spoken to in clear)"
        )
        #expect(
            ConnectionTalk().lost("the server closed the connection")
                == "notSent: h:1: the server closed the connection before HELLO was answered "
                + "(a port that speaks TLS does so when it is spoken to in clear)"
        )
        let late = ConnectionTalk { $0.setup = [RedisCommand("PING")] }
        _ = late.server(.hello())
        _ = late.check(nil)
        _ = late.server(.text("PONG"))
        #expect(late.lost("reset") == "notSent: h:1: reset before PING was answered")
    }

    @Test func `bytes that are not the protocol's are named for what they are`() {
        #expect(ConnectionTalk().garbled("HTTP/") == "unusableServer: h:1: this is an HTTP server, not Redis")
        #expect(ConnectionTalk().garbled("\u{15}\u{3}") == "unusableServer: h:1: this port speaks TLS")
        #expect(ConnectionTalk().garbled("220 smtp") == "unusableServer: h:1: not a Redis server: bad type")
        #expect(ConnectionTalk.active().garbled("HTTP/") == "unusableServer: h:1: bad type")
    }

    @Test func `a TLS failure is a refusal, a reset during the handshake is not`() {
        let refused = ConnectionTalk { $0.tls = RedisTLS() }
        #expect(refused.lost("wrong authority", isRefusal: true) == "unusableServer: h:1: wrong authority")
        let reset = ConnectionTalk { $0.tls = RedisTLS() }
        #expect(
            reset.lost("reset")
                == "notSent: h:1: reset before HELLO was answered (a server that asks for a client's certificate may do so)"
        )
        let certified = ConnectionTalk { $0.tls = RedisTLS(certificateChainFile: "/cert.pem") }
        #expect(certified.lost("reset") == "notSent: h:1: reset before HELLO was answered")
    }
}
