import DistributedLocks
import LockURLs
import RedisLocks
import TestKit
import Testing
import ZooKeeperLocks

/// Whatever is wrong with a URL, what is said of it shows no part of its password.
@Suite struct SecretsTests {
    private static let forms = [
        "redis://U@127.0.0.1:1", "redis://U@h/2?prefix=x", "rediss://U@h", "redis+sentinel://U@s1,s2,s3/mymaster/1",
        "rediss+sentinel://U@s1/m", "redlock://U@h1,h2,h3", "redlocks://U@h1:7,h2,h3/1", "zookeeper://U@h:1/chroot",
        "zookeepers://U@[::1]:7", "redis+unix://U@/tmp/redis.sock", "embedded://U@/x", "nosuch://U@h/", "redis:U@h",
        "U@h",
        "//U@h", "redis://U@", "redis://U@h:port", "redis://U@h/database", "redis://U@h?nonsense=1", "redis://U@h?x",
        "redlock://U@h1,h2", "zookeeper://U@h?session-timeout=x", "redis://U@h?max-waiters=x",
        "redis://U@h?password-file=/nowhere", "redis://U@h%zz", "redis://U@h?replication-acks=x",
    ]

    /// Every error of every form without a password, which may say as much.
    private static func message(_ text: String) -> String {
        do {
            return try LockBackends.backend(url: text).identity
        } catch {
            return "\(error)"
        }
    }

    @Test func `no error shows three characters of a password that should have been percent-encoded`() {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        // Letters that no message has beside a delimiter: capitals, and none of those that stand for an escape or a word.
        let letters = Array("QXZJWKV0189")
        let delimiters = Array("#/?@:&=%[],+ ")
        for _ in 0..<4_000 {
            var password = ""
            for _ in 0..<Int.random(in: 4...14, using: &generator) {
                let isDelimiter = Int.random(in: 0..<3, using: &generator) == 0
                password.append((isDelimiter ? delimiters : letters).randomElement(using: &generator) ?? "Q")
            }
            let user = ["", ":", "u:", "QXu:", "12:"].randomElement(using: &generator) ?? ""
            let form = Self.forms.randomElement(using: &generator) ?? ""
            // Without a colon before it, it is no password; and what stands behind three slashes is a path on this host.
            if user.isEmpty, form.hasPrefix("embedded") || form.hasPrefix("redis+unix") { continue }
            let text = form.replacing("U", with: user + password)
            let message = Self.message(text)
            let characters = Array(password)
            for start in 0...(characters.count - 3) {
                let run = String(characters[start..<(start + 3)])
                guard run.contains(where: { letters.contains($0) && !$0.isNumber }) else { continue }
                #expect(!message.contains(run), "seed \(seed): \(text) gave: \(message)")
            }
        }
    }

    @Test(arguments: [
        "redis://:pa#SECRET@127.0.0.1:1", "redis://user:12/SECRET@127.0.0.1:1", "redis://user:pa?SECRET@127.0.0.1:1",
        "redis://user:SECRET/x@127.0.0.1:1", "redlock://:a#SECRET@h1,h2,h3", "zookeeper://u:a#SECRET@127.0.0.1:1",
        "zookeeper://user:12/SECRET@127.0.0.1", "redis://user:12?SECRET=1@h", "redis://user:a@SECRET/x@h",
        "redis+sentinel://u:12/SECRET@s1/m", "user:SECRET/a@host", "redis://u:SECRET[/@h",
    ])
    func `who has not percent-encoded a password is told to`(text: String) {
        let message = Self.message(text)
        #expect(!message.contains("SECRET"), "\(message)")
        #expect(message.contains("%23 %2F %3F %40"), "\(message)")
        #expect(message.contains("password-file or password-env"), "\(message)")
        #expect(!message.contains("\n"))
    }

    @Test func `what cannot be a part of a password is named`() {
        #expect(Self.message("redis://h?databse=1").contains("no option 'databse'"))
        #expect(Self.message("zookeeper://h?prefix").contains("the option 'prefix' has no value"))
        #expect(Self.message("nosuch://h").contains("'nosuch:'"))
        #expect(Self.message("locks.db").contains("'locks.db'"))
        for text in ["redis://h?databse=1", "redis://h/x", "redis://h:port"] {
            #expect(!Self.message(text).contains("%23"), "there is no password: \(Self.message(text))")
        }
    }

    @Test func `an @ in the value of an option is no end of a password`() throws {
        let url = try LockURL("redis://h:7?prefix=a@b:")
        #expect(url.user == nil && url.hosts == [LockURL.Host(name: "h", port: 7)])
        #expect(url.query.first?.value == "a@b:")
        #expect(try LockURL("redis://u:p@h?prefix=a@b:").query.first?.value == "a@b:")
        #expect(try LockURL("embedded:///tmp/a@b.db").path == "/tmp/a@b.db")
        #expect(try LockURL("redis+unix:///tmp/a@b.sock").path == "/tmp/a@b.sock")
        #expect(try LockURL("zookeeper://h/a%40b").path == "/a@b")
    }

    @Test func `a variable or a file that may be the password itself is not named`() {
        func message(_ option: String) -> String { Self.message("redis://h?\(option)") }
        #expect(message("password-env=NOT_SET_ANYWHERE").contains("'NOT_SET_ANYWHERE'"))
        #expect(!message("password-env=hunter2").contains("hunter2"))
        #expect(!message("password-env=7UNTER").contains("7UNTER"))
        #expect(message("password-file=/nowhere/x").contains("'/nowhere/x'"))
        #expect(!message("password-file=hunter2").contains("hunter2"))
        #expect(!Self.message("redis+sentinel://s/m?sentinel-password-env=hunter2").contains("hunter2"))
        #expect(!Self.message("redis+sentinel://s/m?sentinel-password-file=hunter2").contains("hunter2"))
        #expect(!Self.message("zookeeper://h?password-env=hunter2").contains("hunter2"))
        #expect(!Self.message("redlock://a,b,c?password-file=hunter2").contains("hunter2"))
    }

    @Test(arguments: [
        "redis://h:+5", "redis://h/+5", "redis://h?max-waiters=+5", "redis://h?replication-acks=+5",
        "redis+unix:///x?database=+5",
        "redis://h/٥", "redlock://a,b,c/+1", "redis://h?max-waiters=-5", "zookeeper://h?session-timeout=+5s",
        "redis://h%+5",
        "redis://h:99999999999999999999", "redis://h?max-waiters=",
    ])
    func `a number has digits and nothing else`(text: String) {
        #expect(Self.message(text).contains("invalidConfiguration"), "\(Self.message(text))")
    }
}
