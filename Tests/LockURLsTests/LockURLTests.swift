import DistributedLocks
import LockURLs
import RedisLocks
import Testing
import ZooKeeperLocks

#if Embedded
import EmbeddedLocks
#endif

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

    /// What a newcomer tries first.
    @Test func `each backend's module reads its own URLs, as the module of all of them does`() throws {
        func expect(_ backend: some LockBackend, _ url: String) throws {
            #expect(try LockBackends.backend(url: url).identity == backend.identity)
        }
        let redis = "redis://u:p@h:7/2?prefix=x:"
        try expect(RedisLockBackend(url: redis), redis)
        try expect(RedisLockBackend(configuration: RedisLockConfiguration(host: "h", port: 7)), "redis://h:7")
        let redlock = "redlock://a,b,c/1?set=s"
        try expect(RedlockBackend(url: redlock), redlock)
        let zooKeeper = "zookeeper://a,b:7/c"
        try expect(ZooKeeperLockBackend(url: zooKeeper), zooKeeper)
        #expect(throws: LockError.self) { try RedisLockBackend(url: redlock) }
        #expect(throws: LockError.self) { try RedlockBackend(url: redis) }
        #expect(throws: LockError.self) { try ZooKeeperLockBackend(url: redis) }
        #if Embedded
        try expect(EmbeddedLockBackend(url: "embedded:///tmp/a.db"), "embedded:///tmp/a.db")
        #expect(throws: LockError.self) { try EmbeddedLockBackend(url: redis) }
        #endif
    }

    // MARK: Sentinel

    @Test func `a URL with Sentinels names all of them, the master and the database`() throws {
        func identity(_ text: String) throws -> String { try LockBackends.backend(url: text).identity }
        #expect(
            try identity("redis+sentinel://u:p@s1,s2:7,[::1]/mymaster")
                == "redis+sentinel://s1:26379,s2:7,[::1]:26379/mymaster"
        )
        #expect(try identity("redis+sentinel://s1/mymaster/3") == "redis+sentinel://s1:26379/mymaster/3")
        #expect(
            try identity(
                "rediss+sentinel://s1/m/?ca-file=/a&server-name=b&sentinel-user=c&replication-acks=2&prefix=x:")
                == "rediss+sentinel://s1:26379/m#x:"
        )
    }

    @Test(arguments: [
        "redis+sentinel:", "redis+sentinel://s1", "redis+sentinel://s1/", "redis+sentinel:///mymaster",
        "redis+sentinel://s1/mymaster/x", "redis+sentinel://s1/mymaster/1/2", "redis+sentinel://s1,s1/mymaster",
        "redis+sentinel://s1,s1:26379/mymaster", "redis+sentinel://s1/my%20master",
        "redis+sentinel://s1/mymaster?replication-acks=x", "redis+sentinel://s1/mymaster?replication-acks=-1",
        "redis+sentinel://s1/mymaster?ca-file=/a", "redis+sentinel://s1/mymaster?database=1",
        "redis+sentinel://s1/mymaster?unknown=1", "redis+sentinel://s1/mymaster?sentinel-password-env=NOT_SET_ANYWHERE",
        "redis+sentinel://s1/mymaster?sentinel-password-file=/nowhere", "redis://h?sentinel-user=x",
        "redis://h?replication-acks=1001", "redis://s1,s2",
    ])
    func `a URL of Redis that makes no sense is refused`(text: String) {
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: text) }
        #expect(error?.code == .invalidConfiguration)
    }

    @Test func `only Sentinels have an epoch to raise`() async throws {
        for text in ["redis://h", "zookeeper://h"] {
            let error = await #expect(throws: LockError.self) { try await LockBackends.raiseEpoch(url: LockURL(text)) }
            #expect(error?.code == .invalidConfiguration)
        }
    }
}
