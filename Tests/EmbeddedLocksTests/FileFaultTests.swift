import DistributedLocks
import Foundation
import GRDB
import TestKit
import Testing

@testable import EmbeddedLocks

/// E3 and E5: files and folders that are not what they should be.
@Suite(.timeLimit(.minutes(1)))
struct FileFaultTests {
    @Test func `a foreign database is refused and stays as it was`() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "foreign.db").path
            let foreign = try DatabaseQueue(path: path)
            try await foreign.write {
                try $0.execute(sql: "CREATE TABLE users (name); INSERT INTO users VALUES ('Ada')")
            }
            try foreign.close()
            let before = try Data(contentsOf: URL(filePath: path))
            try await withClient(path) { client in
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("not one of locks") == true)
            }
            #expect(try Data(contentsOf: URL(filePath: path)) == before)
        }
    }

    @Test func `a file that is no database is refused and stays as it was`() async throws {
        try await withFolder { folder in
            let file = folder.appending(path: "notes.txt")
            let text = Data(String(repeating: "These are my notes, and no database.\n", count: 100).utf8)
            try text.write(to: file)
            try await withClient(file.path) { client in
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
            }
            #expect(try Data(contentsOf: file) == text)
        }
    }

    @Test func `a file of a newer version is refused and stays as it was`() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "locks.db").path
            try await withClient(path) { client in #expect(await acquireError(client) == nil) }
            let database = try DatabaseQueue(path: path)
            try await database.write { try $0.execute(sql: "PRAGMA user_version = 99") }
            try database.close()
            try await withClient(path) { client in
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("99") == true)
            }
            let version = try await DatabaseQueue(path: path).read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
            #expect(version == 99)
        }
    }

    @Test(.enabled(if: TemporaryDisk.isPossible, "only root mounts disks"))
    func `a full disk is told, and when there is room locks go on with higher tokens`() async throws {
        try await TemporaryDisk.withDisk(kilobytes: 512) { disk in
            let path = disk.folder.appending(path: "locks.db").path
            try await withClient(path) { client in
                let before = try await client.withLock("a") { $0.token }
                try disk.fill()
                // What the log has room for in its last page is still granted.
                var error: LockError?
                for _ in 0..<10_000 where error == nil { error = await acquireError(client) }
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("is full") == true)
                try disk.makeRoom()
                let after = try await client.withLock("a", waitingAtMost: .seconds(60)) { $0.token }
                #expect(after > before)
            }
            // What was not done is not in the file, so that the client leaves nothing for others to clear away.
            #expect(try FileManager.default.contentsOfDirectory(atPath: path + "-live").isEmpty)
            let verdict = try await DatabaseQueue(path: path).read {
                try String.fetchOne($0, sql: "PRAGMA integrity_check")
            }
            #expect(verdict == "ok")
        }
    }

    @Test func `a damaged file is refused`() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "locks.db").path
            try await withClient(path) { client in #expect(await acquireError(client) == nil) }
            let database = try DatabaseQueue(path: path)
            try await database.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try database.close()
            var bytes = try Data(contentsOf: URL(filePath: path))
            // The header stays; the tables do not.
            for index in 2_000..<bytes.count { bytes[index] = 0xA5 }
            try bytes.write(to: URL(filePath: path))
            try await withClient(path) { client in
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("damaged") == true)
            }
            #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
        }
    }

    @Test func `an empty file is made a file of locks`() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "locks.db").path
            try Data().write(to: URL(filePath: path))
            try await withClient(path) { client in #expect(await acquireError(client) == nil) }
        }
    }

    @Test func `a folder that is not there is no place for a file`() async throws {
        try await withFolder { folder in
            try await withClient(folder.path + "/missing/locks.db") { client in
                let error = await acquireError(client)
                #expect(error?.code == .unreachable)
                #expect(error?.message.contains("folder") == true)
            }
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/missing"))
        }
    }

    @Test func `a path longer than a socket's address works`() async throws {
        try await withFolder { folder in
            let deep = folder.appending(path: String(repeating: "deep/", count: 30))
            try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
            let path = deep.appending(path: "locks.db").path
            try await withClient(path) { first in
                try await withClient(path) { second in
                    let handle = try await first.acquire("a")
                    let waiting = Task { try await second.acquire("a") }
                    while try await first.status(of: "a").waiters.isEmpty { await Task.yield() }
                    try await handle.release()
                    // Woken by a datagram, long before the backstop of a 30 s lease.
                    let started = ContinuousClock.now
                    try await waiting.value.release()
                    #expect(ContinuousClock.now - started < .seconds(20))
                }
            }
        }
    }

    @Test func `a file that was replaced is used no more, and the new one at once`() async throws {
        try await withFolder { folder in
            let path = folder.appending(path: "locks.db").path
            try await withClient(path) { client in
                let handle = try await client.acquire("a", lease: .milliseconds(600))
                for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
                // What was held in the file that is gone cannot be renewed.
                #expect(try await handle.lost() != nil)
                try await withClient(path) { other in
                    try await client.withLock("b") { _ in
                        let seen = try await other.status(of: "b").holder
                        #expect(seen != nil)
                    }
                }
            }
        }
    }

    @Test func `file systems that several hosts may see are told by their names`() throws {
        let mounts = """
            22 1 254:0 / / rw,relatime - ext4 /dev/root rw
            31 22 0:27 / /mnt/home rw shared:1 - nfs4 server:/home rw
            32 22 0:28 / /mnt/ssh rw - fuse.sshfs me@host:/ rw
            33 22 0:29 / /run rw - tmpfs tmpfs rw
            34 22 254:0 /srv/x /mnt/a\\040file rw - ext4 /dev/root rw
            """
        func device(_ major: UInt64, _ minor: UInt64) -> UInt64 { major << 8 | minor }
        let table = MountTable(text: Array(mounts.utf8))
        #expect(table.type(ofMount: nil, device: device(254, 0)) == "ext4")
        #expect(table.type(ofMount: nil, device: device(0, 27)) == "nfs4")
        #expect(table.type(ofMount: nil, device: device(0, 99)) == nil)
        // The number of the mount says it where the device does not.
        #expect(table.type(ofMount: 32, device: device(0, 99)) == "fuse.sshfs")
        #expect(table.isMountPoint("/mnt/home") && table.isMountPoint("/mnt/a file") && !table.isMountPoint("/mnt"))
        for type in ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "virtiofs", "vboxsf", "vmhgfs", "pvfs2"] {
            #expect(MountTable.mayBeShared(type))
        }
        for type in ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"] { #expect(!MountTable.mayBeShared(type)) }
    }

    @Test func `more waiters than allowed are refused`() async throws {
        try await withFolder { folder in
            var options = EmbeddedLockBackend.Options()
            options.maximumWaitersPerLock = 3
            try await withClient(folder.path + "/locks.db", options: options) { client in
                let handle = try await client.acquire("a")
                let waiting = (0..<3).map { _ in Task { try await client.withLock("a") { _ in } } }
                while try await client.status(of: "a").waiters.count < 3 { await Task.yield() }
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
                waiting[1].cancel()
                while try await client.status(of: "a").waiters.count > 2 { await Task.yield() }
                let last = Task { try await client.withLock("a") { _ in } }
                while try await client.status(of: "a").waiters.count < 3 { await Task.yield() }
                try await handle.release()
                try await waiting[0].value
                try await waiting[2].value
                try await last.value
            }
        }
    }
}
