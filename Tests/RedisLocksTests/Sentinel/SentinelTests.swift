import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

extension FencingToken {
    var epoch: Int64 { self.rawValue >> 47 }
}

extension SentinelSetup {
    /// A prefix of a test's own.
    func url(prefix: String, _ options: String = "") -> String { self.url("?prefix=\(prefix):\(options)") }
}

/// What does not disturb the servers, so that one setup serves all.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct SentinelTests {
    @Test func `locks on a master that Sentinels name work as on any, and their tokens carry its epoch`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try await withLocks(setup.url) { locks async throws in
                let first = try await token(locks)
                #expect(first.epoch == 0)
                try await setup.failOver()
                let second = try await token(locks)
                #expect(second.epoch == 1 && second > first)
                let master = try setup.agreedMaster()
                #expect(try master.command("GET", "dlock.epoch").string == "1")
                let holder = Holder(locks, "a")
                await holder.isHeld()
                let status = try await locks.status(of: "a")
                #expect(try #require(status.holder?.heldFor) < .seconds(60))
                #expect(status.lastToken?.epoch == 1)
                #expect(status.holder?.token == status.lastToken)
                holder.letGo()
                #expect(try await holder.end() == status.lastToken)
            }
        }
    }

    @Test func `a waiter is told its token by whoever hands over, and a place in another database is another lock`()
        async throws
    {
        let setup = try await SentinelSetup.shared()
        try await withLocks(setup.url(prefix: "hand-over")) { first in
            try await withLocks(setup.url("/3?prefix=hand-over:")) { elsewhere async throws in
                try await withLocks(setup.url(prefix: "hand-over")) { second async throws in
                    let holder = Holder(first, "a")
                    await holder.isHeld()
                    _ = try await token(elsewhere)
                    let waiter = Holder(second, "a")
                    try await eventually("somebody waits") {
                        try setup.agreedMaster().command("EXISTS", "dlock.queue:{hand-over:a}").integer == 1
                    }
                    holder.letGo()
                    let before = try await holder.end()
                    await waiter.isHeld()
                    waiter.letGo()
                    #expect(try await waiter.end() > before)
                }
            }
        }
    }

    @Test func `a client that names the master itself hands over without an epoch, and the waiter finds its own`()
        async throws
    {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try await setup.failOver()
            let master = try setup.agreedMaster()
            try await withLocks("redis://127.0.0.1:\(master.port)") { plain in
                try await withLocks(setup.url) { locks async throws in
                    let holder = Holder(plain, "a")
                    await holder.isHeld()
                    let waiter = Holder(locks, "a")
                    try await eventually("somebody waits") {
                        try master.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                    }
                    holder.letGo()
                    let before = try await holder.end()
                    #expect(before.epoch == 0)
                    let start = ContinuousClock.now
                    await waiter.isHeld()
                    waiter.letGo()
                    #expect(try await waiter.end().epoch == 1)
                    #expect(ContinuousClock.now - start < .seconds(1))
                }
            }
        }
    }

    // MARK: Bad input

    private func failure(
        _ url: String,
        waitingAtMost limit: Duration = .seconds(3)
    ) async throws -> (error: LockError, took: Duration) {
        let start = ContinuousClock.now
        let error = try await withLocks(url) { locks in
            await #expect(throws: LockError.self, "\(url)") {
                try await locks.withLock("a", waitingAtMost: limit) { _ in }
            }
        }
        return (try #require(error), ContinuousClock.now - start)
    }

    @Test func `Sentinels that are down are told, each by its name, within the caller's time`() async throws {
        let ports = try (0..<3).map { _ in try FreePort.next() }
        let hosts = ports.map { "127.0.0.1:\($0)" }
        let (error, took) = try await self.failure(
            "redis+sentinel://\(hosts.joined(separator: ","))/mymaster",
            waitingAtMost: .milliseconds(500)
        )
        #expect(error.code == .unreachable)
        for host in hosts { #expect(error.message.contains(host), "\(error.message)") }
        #expect(took < .seconds(5))
    }

    @Test func `one Sentinel of three is enough to be told, and not enough to be believed`() async throws {
        let setup = try await SentinelSetup.shared()
        let dead = try (0..<2).map { _ in "127.0.0.1:\(try FreePort.next())" }
        let alive = setup.sentinels.map { "127.0.0.1:\($0.port)" }
        let (error, _) = try await self.failure(
            "redis+sentinel://\(alive[0]),\(dead[0]),\(dead[1])/mymaster",
            waitingAtMost: .seconds(1)
        )
        #expect(error.code == .unreachable)
        #expect(error.message.contains("\(alive[0]): says 127.0.0.1:"), "\(error.message)")
        #expect(error.message.contains(dead[1]))
        try await withLocks("redis+sentinel://\(alive[0]),\(dead[0]),\(alive[1])/mymaster?prefix=two:") {
            locks async throws in
            _ = try await token(locks)
        }
    }

    @Test func `Sentinels that hang cost their part of the time, and no more`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try setup.sentinels[0].stop()
            defer { setup.sentinels[0].resume() }
            try await withLocks(setup.url) { locks async throws in
                let start = ContinuousClock.now
                _ = try await token(locks)
                #expect(ContinuousClock.now - start < .seconds(3))
            }
            try setup.sentinels[1].stop()
            defer { setup.sentinels[1].resume() }
            let (error, took) = try await self.failure(setup.url, waitingAtMost: .milliseconds(1_500))
            #expect(error.code == .unreachable && took < .seconds(6))
            #expect(error.message.contains("127.0.0.1:\(setup.sentinels[1].port)"), "\(error.message)")
        }
    }

    @Test func `a master that the Sentinels do not know is refused at once`() async throws {
        let setup = try await SentinelSetup.shared()
        let hosts = setup.sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        let (error, took) = try await self.failure("redis+sentinel://\(hosts)/yourmaster", waitingAtMost: .seconds(20))
        #expect(error.code == .serverRefused)
        #expect(error.message.contains("the Sentinels know no master 'yourmaster'"), "\(error.message)")
        #expect(took < .seconds(5))
    }

    @Test func `a server given as a Sentinel, and a Sentinel given as a server, are refused and named`() async throws {
        let setup = try await SentinelSetup.shared()
        let server = setup.servers[0]
        let hosts = setup.sentinels[..<2].map { "127.0.0.1:\($0.port)" } + ["127.0.0.1:\(server.port)"]
        let (error, took) = try await self.failure(
            "redis+sentinel://\(hosts.joined(separator: ","))/mymaster",
            waitingAtMost: .seconds(20)
        )
        #expect(error.code == .serverRefused)
        #expect(error.message == "127.0.0.1:\(server.port): this is a Redis server, not a Sentinel")
        #expect(took < .seconds(5))
        let (other, _) = try await self.failure("redis://127.0.0.1:\(setup.sentinels[0].port)")
        #expect(other.code == .serverRefused)
        #expect(other.message.contains("this is a Sentinel, not a server that holds data"), "\(other.message)")
    }

    @Test func `a master that nobody reaches is told with where its address comes from`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            let master = try setup.killMaster()
            let (error, _) = try await self.failure(setup.url, waitingAtMost: .seconds(1))
            #expect(error.code == .unreachable)
            #expect(error.message.contains("127.0.0.1:\(master.port)"), "\(error.message)")
            #expect(error.message.contains("the address that the Sentinels give for 'mymaster'"), "\(error.message)")
        }
    }

    @Test func `a user at the Sentinels needs what the page says, and its password is never shown`() async throws {
        let user =
            "user locks on >secret-word resetchannels &+switch-master -@all +hello +ping +subscribe "
            + "+sentinel|get-master-addr-by-name +sentinel|master"
        try await SentinelSetup.withSetup(
            SentinelSetup.Options(downAfter: .seconds(60), sentinelLines: [user])
        ) { setup in
            let file = setup.sentinels[0].folder.appending(path: "password")
            try "secret-word\n".write(to: file, atomically: true, encoding: .utf8)
            let url = setup.url("?sentinel-user=locks&sentinel-password-file=\(file.path)")
            try await withLocks(url) { locks async throws in
                let first = try await token(locks)
                try await setup.failOver()
                #expect(try await token(locks) > first)
            }
            try "another-word".write(to: file, atomically: true, encoding: .utf8)
            let (error, _) = try await self.failure(url, waitingAtMost: .seconds(20))
            #expect(error.code == .serverRefused)
            #expect(error.message.contains("WRONGPASS"), "\(error.message)")
            #expect(error.message.contains("sentinel-password-file"), "\(error.message)")
            for secret in ["secret-word", "another-word"] { #expect(!"\(error)".contains(secret)) }
        }
    }

    @Test func `over TLS the master and its Sentinels are verified, before and after a failover`() async throws {
        let certificates = try TestCertificates.good.get()
        try await SentinelSetup.withSetup(
            SentinelSetup.Options(downAfter: .seconds(60), certificates: certificates)
        ) { setup in
            try await withLocks(setup.url("?ca-file=\(certificates.authority.path)")) { locks async throws in
                let first = try await token(locks)
                try await setup.failOver()
                #expect(try await token(locks) > first)
            }
            let stranger = try TestCertificates.wrongName.get().authority.path
            let (error, _) = try await self.failure(setup.url("?ca-file=\(stranger)"), waitingAtMost: .seconds(20))
            #expect(error.code == .serverRefused)
            #expect(error.message.contains("certificate"), "\(error.message)")
        }
    }

    @Test func `no text form of a configuration shows a password`() throws {
        var configuration = RedisLockConfiguration(address: .sentinels([.init(host: "s")], master: "m"))
        configuration.password = "hunter2"
        configuration.sentinelPassword = "hunter3"
        var dumped = ""
        dump(configuration, to: &dumped)
        dump(configuration.sentinelConfiguration, to: &dumped)
        for text in [dumped, "\(configuration)", String(reflecting: configuration.sentinelConfiguration)] {
            #expect(!text.contains("hunter"), "\(text)")
        }
    }

    // MARK: Epochs

    @Test func `Sentinels that were set up anew are refused until their epoch is raised, and tokens go on rising`()
        async throws
    {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            var last: FencingToken?
            try await withLocks(setup.url) { locks async throws in
                for _ in 0..<3 { try await setup.failOver() }
                last = try await token(locks)
            }
            #expect(last?.epoch == 3)
            try await setup.settled()
            for sentinel in setup.sentinels { sentinel.kill() }
            try await setup.startSentinels()
            try await setup.settled()
            #expect(try setup.epoch() == 0)
            let (error, _) = try await self.failure(setup.url)
            #expect(error.code == .serverRefused)
            #expect(error.message.contains("DLOCKEPOCH the epoch 0 is below 3"), "\(error.message)")
            #expect(error.message.contains("dlock init --raise-epoch"))

            let url = try LockURL(setup.url)
            try await withLocks(setup.url) { locks async throws in
                // A client that runs meanwhile needs no restart.
                await #expect(throws: LockError.self) { try await token(locks) }
                #expect(try await LockBackends.raiseEpoch(url: url) == 4)
                try await eventually(within: .seconds(15), "it has heard of the epoch") { () async throws in
                    guard let next = try? await token(locks) else { return false }
                    #expect(next.epoch == 4)
                    #expect(try next > #require(last))
                    return true
                }
            }
            #expect(try await LockBackends.raiseEpoch(url: url) == 4)
            for sentinel in setup.sentinels {
                #expect(try sentinel.fields("SENTINEL", "MASTER", "mymaster")["config-epoch"] == "4")
                let file = sentinel.folder.appending(path: "sentinel.conf")
                #expect(try String(contentsOf: file, encoding: .utf8).contains("config-epoch mymaster 4"))
            }
            try await setup.failOver()
            try await withLocks(setup.url) { locks async throws in #expect(try await token(locks).epoch == 5) }
        }
    }

    @Test func `an epoch is raised only with all Sentinels, and only where there are some`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            try setup.agreedMaster().command("SET", "dlock.epoch", "9")
            setup.sentinels[2].kill()
            let error = await #expect(throws: LockError.self) {
                try await LockBackends.raiseEpoch(url: try LockURL(setup.url))
            }
            #expect(error?.code == .unreachable)
            #expect(error?.message.contains("\(setup.sentinels[2].port)") == true, "\(error?.message ?? "")")
            let other = await #expect(throws: LockError.self) {
                try await LockBackends.raiseEpoch(url: try LockURL("redis://127.0.0.1:1"))
            }
            #expect(other?.code == .invalidConfiguration)
        }
    }
}
