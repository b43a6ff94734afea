import DistributedLocks
import Foundation
import LockURLs
import RedisLocks
import TestKit
import Testing
import ZooKeeperLocks

/// The options that the URLs of all servers have.
@Suite struct OptionTests {
    private static func redis(_ path: String) throws -> String? {
        let url = try LockURL("redis://h?password-file=\(path)")
        return try RedisLockConfiguration(url: url).password
    }

    /// What Redis and ZooKeeper read from a file, which has to be the same.
    private static func password(_ path: String) throws -> String? {
        let redis = try RedisLockConfiguration(url: LockURL("redis://u@h?password-file=\(path)")).password
        let zooKeeper = try ZooKeeperLockConfiguration(url: LockURL("zookeeper://u@h?password-file=\(path)")).password
        #expect(redis == zooKeeper)
        return redis
    }

    @Test(arguments: [
        ("sesame", "sesame"), ("sesame\n", "sesame"), ("sesame\r\n", "sesame"), ("\u{FEFF}sesame\r\nmore\n", "sesame"),
        ("\n", ""), ("", ""), (" with spaces \nx", " with spaces "), ("a\u{2028}b\u{B}c\n", "a\u{2028}b\u{B}c"),
        ("sésame\n", "sésame"),
        (String(repeating: "x", count: 4_096) + "y\nz", String(repeating: "x", count: 4_096) + "y"),
        (String(repeating: "é", count: 32_768) + "\n", String(repeating: "é", count: 32_768)),
    ])
    func `a password is the first line of its file, whatever wrote it`(contents: String, password: String) async throws
    {
        try await withFolder { folder in
            let file = folder.appending(path: "pw")
            try Data(contents.utf8).write(to: file)
            let read = try Self.password(file.path)
            #expect(read.map { Array($0.utf8) } == Array(password.utf8))
        }
    }

    @Test func `a file that holds no password is refused in one line`() async throws {
        try await withFolder { folder in
            let file = folder.appending(path: "pw")
            let cases: [(Data, String)] = [
                (Data(repeating: UInt8(ascii: "x"), count: 65_537), "longer than 65536 bytes"),
                (Data([0xFF, 0xFE, 0x61, 0, 0x0A, 0]), "is not UTF-8 text"),
                (Data([0x61, 0, 0x62]), "is not UTF-8 text"),
            ]
            for (contents, reason) in cases {
                try contents.write(to: file)
                let error = #expect(throws: LockError.self) { try Self.password(file.path) }
                #expect(error?.code == .invalidConfiguration)
                #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
                #expect(error?.message.contains("\n") == false && error?.message.contains("xxx") == false)
            }
            for (path, reason) in [(folder.path, "directory"), (folder.path + "/missing", "No such file")] {
                let error = #expect(throws: LockError.self) { try Self.password(path) }
                #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func `a pipe is read up to the end of the line, and no further`() async throws {
        try await withFolder { folder in
            let fifo = folder.appending(path: "fifo").path
            #expect(mkfifo(fifo, 0o600) == 0)
            // Kept open for as long as the test runs, as by whoever hands a password over and goes on.
            let writer = open(fifo, O_RDWR | O_CLOEXEC)
            defer { close(writer) }
            for part in ["ses", "ame\nand more"] {
                #expect(write(writer, part, part.utf8.count) == part.utf8.count)
            }
            let byFifo = try Self.redis(fifo)
            #expect(byFifo == "sesame")

            var ends: [Int32] = [0, 0]
            #expect(pipe(&ends) == 0)
            #expect(write(ends[1], "by a pipe", 9) == 9)
            close(ends[1])
            defer { close(ends[0]) }
            let path = "/dev/fd/\(ends[0])"
            let byPipe = try Self.redis(path)
            #expect(byPipe == "by a pipe")
        }
    }

    // MARK: TLS

    private static let tls = "ca-file=/ca.pem&cert-file=/cert.pem&key-file=/key.pem&server-name=s"

    @Test func `the options of TLS are the same everywhere`() throws {
        for text in ["rediss://h", "rediss+sentinel://s1,s2/m"] {
            let tls = try RedisLockConfiguration(url: LockURL("\(text)?\(Self.tls)")).tls
            #expect(
                tls
                    == RedisLockConfiguration.TLS(
                        serverName: "s", certificateAuthorityFile: "/ca.pem", certificateChainFile: "/cert.pem",
                        privateKeyFile: "/key.pem"))
        }
        let redlock = try RedlockConfiguration(url: LockURL("redlocks://a,b,c?\(Self.tls)")).tls
        #expect(redlock?.certificateChainFile == "/cert.pem" && redlock?.privateKeyFile == "/key.pem")
        let zooKeeper = try ZooKeeperLockConfiguration(url: LockURL("zookeepers://h?\(Self.tls)")).tls
        #expect(
            zooKeeper
                == ZooKeeperLockConfiguration.TLS(
                    serverName: "s", certificateAuthorityFile: "/ca.pem", certificateChainFile: "/cert.pem",
                    privateKeyFile: "/key.pem"))
    }

    @Test(arguments: ["redis://h", "redis+sentinel://s/m", "redlock://a,b,c", "zookeeper://h", "redis+unix:///x"])
    func `options of TLS without TLS are refused with the scheme that has them`(text: String) throws {
        for option in ["ca-file", "cert-file", "key-file", "server-name"] {
            let error = #expect(throws: LockError.self) { try LockBackends.backend(url: "\(text)?\(option)=/x") }
            #expect(error?.code == .invalidConfiguration)
            #expect(error?.message.hasPrefix("\(option) is for ") == true, "\(error?.message ?? "")")
        }
    }

    @Test(arguments: ["rediss://h", "rediss+sentinel://s/m", "redlocks://a,b,c", "zookeepers://h"])
    func `a private key without its certificate is refused, and a certificate alone has its key in the same file`(
        text: String
    )
        throws
    {
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: "\(text)?key-file=/x") }
        #expect(error?.code == .invalidConfiguration && error?.message.contains("cert-file") == true)
        _ = try LockBackends.backend(url: "\(text)?cert-file=/x")
    }

    // MARK: Chroots

    @Test func `a slash at the end of a chroot means nothing`() throws {
        func identity(_ text: String) throws -> String { try LockBackends.backend(url: text).identity }
        for text in ["zookeeper://h/a", "zookeeper://h/a/b", "zookeeper://h"] {
            let (with, without) = (try identity(text + "/"), try identity(text))
            #expect(with == without)
        }
    }

    @Test(arguments: ["//", "//a", "/a//", "/a//b", "/.", "/../a", "/a/..", "/zookeeper/"])
    func `a chroot that is no path of nodes is refused in one line`(path: String) {
        let error = #expect(throws: LockError.self) { try LockBackends.backend(url: "zookeeper://h\(path)") }
        #expect(error?.code == .invalidConfiguration && error?.message.contains("\n") == false)
    }
}
