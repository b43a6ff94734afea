import DistributedLocks
import LockURLs
import Testing

@Suite struct LockURLTests {
    @Test func `the parts of a URL with several hosts are read`() throws {
        let url = try LockURL("Redis+Sentinel://user:p%40ss@s1:26379,[::1]:26380,s3/my%20master/2?a=b&c=%26")
        #expect(url.scheme == "redis+sentinel")
        #expect(url.user == "user")
        #expect(url.password == "p@ss")
        #expect(
            url.hosts == [
                LockURL.Host(name: "s1", port: 26379), LockURL.Host(name: "::1", port: 26380), LockURL.Host(name: "s3"),
            ])
        #expect(url.path == "/my master/2")
        #expect(url.query.map(\.name) == ["a", "c"] && url.query.map(\.value) == ["b", "&"])
    }

    @Test func `a password is never shown`() throws {
        let url = try LockURL("redis://user:secret@host:6379/0")
        var dumped = ""
        dump(url, to: &dumped)
        for text in ["\(url)", String(reflecting: url), dumped] { #expect(!text.contains("secret"), "\(text)") }
        #expect("\(url)" == "redis://user@host:6379/0")
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: "user:secret@host") }
        #expect(error.map { !"\($0)".contains("secret") } == true)
    }

    @Test(arguments: [
        "", "locks.db", "/a/b", ":", "1a:", "embedded:?x", "redis://:6379", "redis://a:0", "redis://a:65536",
        "redis://a:port", "redis://a:", "redis://::1:6379", "redis://[::1", "redis://[::1]x", "redis://a,,b",
        "redis://user@", "embedded:///a%2", "embedded:///a%zz", "embedded:///a%00", "embedded:///a%ff",
        "embedded:///a#b",
    ])
    func `a URL that means nothing is refused`(text: String) {
        let error = #expect(throws: LockError.self) { try LockURL(text) }
        #expect(error?.code == .invalidConfiguration)
    }

    @Test(arguments: [
        "nosuch://host", "embedded://host/path", "embedded://user@host/path", "embedded:relative",
        "embedded:///folder/",
        "embedded:///a?unknown=1", "embedded:///a?max-waiters=0", "embedded:///a?max-waiters=many",
    ])
    func `a URL that names no backend is refused`(text: String) {
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: text) }
        #expect(error?.code == .invalidConfiguration)
    }

    @Test func `an embedded URL names its file`() throws {
        #expect(try LockBackends.backend(url: "embedded:///tmp/a.db").identity == "embedded:/tmp/a.db")
        #expect(
            try LockBackends.backend(url: "embedded:/tmp//a%20b.db?max-waiters=5").identity == "embedded:/tmp/a b.db")
    }
}
