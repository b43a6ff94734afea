import LockKernel
import Testing

@testable import RedisLocks

@Suite struct ReadinessTests {
    @Test(arguments: [
        "LOADING Redis is loading the dataset in memory", "BUSY Redis is busy", "MASTERDOWN Link is down",
    ])
    func `a server that greets but does not serve yet is waited for`(text: String) {
        let talk = ConnectionTalk { $0.setup = [RedisCommand("SUBSCRIBE", "ch")] }
        _ = talk.server(.hello())
        _ = talk.check(nil)
        #expect(talk.server(.refusal(text)) == "close: notSent: h:1: not ready: \(text)")
    }

    @Test(arguments: [
        "NOPERM this user has no permissions to run the 'ping' command", "MISCONF no snapshot", "ERR odd",
    ])
    func `a user need not be allowed to ask whether the server serves`(text: String) {
        let talk = ConnectionTalk()
        _ = talk.server(.hello())
        _ = talk.check(nil)
        #expect(talk.server(.refusal(text)) == "active")
    }

    @Test func `a server that greets and then says nothing is given up at the connect timeout`() {
        let talk = ConnectionTalk(connectTimeout: .seconds(2))
        _ = talk.server(.hello())
        _ = talk.check(nil)
        talk.wait(.seconds(2))
        #expect(
            talk.fireTwice()
                == "close: notSent: h:1: the server accepted the connection but did not answer PING within 2 s")
    }
}
