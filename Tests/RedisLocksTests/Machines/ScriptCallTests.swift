import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

/// Calls of scripts that the server does not know.
@Suite struct ScriptCallTests {
    private let unknown = RESPValue.refusal("NOSCRIPT No matching script")
    private let script = ConnectionTalk.script("a")
    private var byHash: String { "EVALSHA \(self.script.hash) 0" }
    private let withText = "EVAL return 'a' 0"

    @Test func `a script that the server does not know is called again with its text`() {
        let talk = ConnectionTalk.active()
        #expect(talk.call(self.script, "x") == "write x")
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(.text("1")) == "x: 1")
        #expect(talk.inFlightCount == 0)
    }

    @Test func `of many calls one takes the text with it, and the others follow it by the hash`() {
        let talk = ConnectionTalk.active()
        for name in ["x", "y", "z"] { _ = talk.call(self.script, name) }
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(self.unknown) == "write y as \(self.byHash) y")
        // One that is sent behind the text needs nothing.
        #expect(talk.call(self.script, "later") == "write later")
        #expect(talk.server(self.unknown) == "write z as \(self.byHash) z")
        for name in ["x", "y", "later", "z"] { #expect(talk.server(.text(name)) == "\(name): \(name)") }
    }

    @Test func `each script has its own text`() {
        let talk = ConnectionTalk.active()
        let other = ConnectionTalk.script("b")
        _ = talk.call(self.script, "x")
        _ = talk.call(other, "y")
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(self.unknown) == "write y as EVAL return 'b' 0 y")
    }

    @Test func `a server that has forgotten the script once more is told the text once more`() {
        let talk = ConnectionTalk.active()
        _ = talk.call(self.script, "x")
        _ = talk.server(self.unknown)
        #expect(talk.server(.text("1")) == "x: 1")
        _ = talk.call(self.script, "y")
        #expect(talk.server(self.unknown) == "write y as \(self.withText) y")
    }

    @Test func `a text that the server does not take ends all calls, and they hear why`() {
        let talk = ConnectionTalk.active()
        for name in ["x", "y"] { _ = talk.call(self.script, name) }
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(self.unknown) == "write y as \(self.byHash) y")
        let refusal = RESPValue.refusal("NOPERM no permission to run the 'eval' command")
        #expect(talk.server(refusal) == "x: refused: h:1: NOPERM no permission to run the 'eval' command")
        #expect(talk.server(self.unknown) == "write y as \(self.withText) y")
        #expect(talk.server(refusal) == "y: refused: h:1: NOPERM no permission to run the 'eval' command")
    }

    @Test func `what has followed refused texts often enough takes the text itself, and hears why`() {
        let talk = ConnectionTalk.active()
        for name in ["x", "y", "z", "last"] { _ = talk.call(self.script, name) }
        let refusal = RESPValue.refusal("OOM command not allowed")
        for (first, others) in [("x", ["y", "z", "last"]), ("y", ["z", "last"])] {
            #expect(talk.server(self.unknown) == "write \(first) as \(self.withText) \(first)")
            for name in others { #expect(talk.server(self.unknown) == "write \(name) as \(self.byHash) \(name)") }
            #expect(talk.server(refusal) == "\(first): refused: h:1: OOM command not allowed")
        }
        for name in ["z", "last"] {
            #expect(talk.server(self.unknown) == "write \(name) as \(self.withText) \(name)")
        }
        for name in ["z", "last"] { #expect(talk.server(refusal) == "\(name): refused: h:1: OOM command not allowed") }
        #expect(talk.inFlightCount == 0)
    }

    @Test func `a call with the text that hears of no script is not made again`() {
        let talk = ConnectionTalk.active()
        _ = talk.call(self.script, "x")
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(self.unknown) == "x: refused: h:1: NOSCRIPT No matching script")
    }

    @Test func `a text counts when it is sent, and not when it could have been`() {
        let talk = ConnectionTalk.active()
        _ = talk.call(self.script, "late", within: .milliseconds(100))
        for name in ["given up", "x", "y"] { _ = talk.call(self.script, name) }
        talk.wait(.milliseconds(200))
        #expect(talk.server(self.unknown).hasPrefix("late: notSent"))
        talk.isWanted = { $0 != "given up" }
        #expect(talk.server(self.unknown) == "given up is not wanted")
        #expect(talk.server(self.unknown) == "write x as \(self.withText) x")
        #expect(talk.server(self.unknown) == "write y as \(self.byHash) y")
    }

    @Test func `what was cancelled meanwhile, or has no time left, is not called again`() {
        let talk = ConnectionTalk.active()
        _ = talk.call(self.script, "x")
        _ = talk.call(self.script, "y")
        #expect(talk.cancel("x") == "x")
        #expect(talk.server(self.unknown) == "nothing")
        talk.wait(.seconds(2))
        #expect(talk.server(self.unknown).hasPrefix("y: notSent: h:1: the deadline had passed"))
    }

    @Test func `a call that is made again can be cancelled, and keeps its deadline`() {
        let talk = ConnectionTalk.active()
        _ = talk.call(self.script, "x")
        _ = talk.server(self.unknown)
        #expect(talk.cancel("x") == "x")
        _ = talk.call(self.script, "y", within: .milliseconds(100))
        #expect(talk.server(.text("1")) == "nothing")
        _ = talk.server(self.unknown)
        talk.wait(.milliseconds(200))
        #expect(talk.fireTwice().hasPrefix("y: outcomeUnknown"))
    }

    @Test func `the text takes the place of the hash, and all the rest stays`() throws {
        let script = StoredScript(text: "return ARGV[1]\r\n", hash: String(repeating: "0", count: 40))
        var bytes = ByteBuffer()
        bytes.writeRESPCommand(["EVALSHA", script.hash, "1", "key", "a\r\nb"])
        let command = RedisCommand(bytes: bytes, calling: script).again(script, withText: true)
        #expect(command.words == ["EVAL", "return ARGV[1]\r\n", "1", "key", "a\r\nb"])
        // Every script of ours, with the words that its calls begin with.
        for script in RedisScript.all + RedisScript.allOfInstance where !script.takesEpoch {
            let call = script.command(key: "k", [.number(7), .text("x")])
            #expect(call.words == ["EVALSHA", script.hash, "1", "k", "7", "x"])
            let stored = try #require(call.script)
            #expect(call.again(stored, withText: true).words == ["EVAL", script.text, "1", "k", "7", "x"])
        }
    }
}
