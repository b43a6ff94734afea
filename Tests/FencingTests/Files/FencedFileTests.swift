import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import Fencing

@Suite(.timeLimit(.minutes(2))) struct FencedFileTests {
    private static func replace(_ file: FencedFile, _ stamp: FencingStamp, _ text: String, adopting: Bool = false)
        throws
        -> FenceDecision
    {
        try file.replace(stamp, adopting: adopting) { descriptor in
            let bytes = Array(text.utf8)
            guard write(descriptor, bytes, bytes.count) == bytes.count else { throw TestKitError("short write") }
        }
    }

    private static func contents(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    @Test func `it decides as the rule does, for random tokens and domains`() async throws {
        try await withFolder { folder async throws in
            for seed in 1...10 as ClosedRange<UInt64> {
                var rule = FenceRule()
                let file = try FencedFile(path: folder.appending(path: "file-\(seed)").path)
                var last = ""
                for (index, step) in Step.random(30, seed: seed).enumerated() {
                    let expected = step.apply(to: &rule)
                    let decided = try await decision {
                        try Self.replace(file, step.stamp, "\(index)", adopting: step.isAdoption)
                    }
                    #expect(decided == expected, "seed \(seed), \(step)")
                    #expect(try file.highest() == rule.highest)
                    if expected.isAccepted { last = "\(index)" }
                    #expect(try Self.contents(file.path) == last)
                }
            }
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 20, "nothing else is left")
        }
    }

    @Test func `many writers at once leave the contents of the highest token, and readers see whole contents`()
        async throws
    {
        try await withFolder { folder async throws in
            let file = try FencedFile(path: folder.appending(path: "file").path)
            func text(_ token: Int64) -> String { String(repeating: "\(token)\n", count: 2_000) }
            _ = try Self.replace(file, stamp(1), text(1))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<4 as Range<Int64> {
                    group.addTask {
                        for round in 0..<25 as Range<Int64> {
                            let token = 2 + (round * 4 + worker) / 2
                            _ = try await decision { try Self.replace(file, stamp(token), text(token)) }
                        }
                    }
                }
                group.addTask {
                    var last: Int64 = 1
                    for _ in 0..<200 {
                        let seen = try Self.contents(file.path)
                        let token = try #require(Int64(seen.prefix { $0 != "\n" }))
                        #expect(seen == text(token))
                        #expect(token >= last)
                        last = token
                    }
                }
                try await group.waitForAll()
            }
            #expect(try Self.contents(file.path) == text(51))
            #expect(try file.highest() == stamp(51))
        }
    }

    @Test func `mode, links and the fence's place are as they should be`() async throws {
        try await withFolder { folder async throws in
            let path = folder.appending(path: "real").path
            try "old".write(toFile: path, atomically: false, encoding: .utf8)
            chmod(path, 0o640)
            let link = folder.appending(path: "link").path
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "real")
            let file = try FencedFile(path: link)
            _ = try Self.replace(file, stamp(1), "new")
            #expect(try Self.contents(path) == "new")
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o640)
            #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
            #expect(try Self.contents(folder.appending(path: ".real.fence").path) == "1 clock\n")
            let fence = folder.appending(path: "shared").path
            let (one, two) = (
                try FencedFile(path: folder.appending(path: "one").path, fencePath: fence),
                try FencedFile(path: folder.appending(path: "two").path, fencePath: fence)
            )
            _ = try Self.replace(one, stamp(5), "one")
            #expect(throws: FenceRefusal.self) { try Self.replace(two, stamp(4), "two") }
            #expect(!FileManager.default.fileExists(atPath: two.path))
        }
    }

    @Test func `a body that fails, and paths that cannot be written, change nothing`() async throws {
        struct Oops: Error {}
        try await withFolder { folder async throws in
            let file = try FencedFile(path: folder.appending(path: "file").path)
            _ = try Self.replace(file, stamp(1), "one")
            #expect(throws: Oops.self) { try file.replace(stamp(2)) { _ in throw Oops() } }
            #expect(try Self.contents(file.path) == "one")
            #expect(try file.highest() == stamp(1))
            #expect(throws: FencedFileError.self) { try Self.replace(FencedFile(path: folder.path), stamp(2), "x") }
            #expect(throws: FencedFileError.self) { try FencedFile(path: "") }
            #expect(throws: FencedFileError.self) { try FencedFile(path: folder.path + "/no/file") }
            #expect(throws: FencedFileError.self) { try FencedFile(path: folder.path + "/a\nb") }
            for damage in ["", "7\n", "7 clock", "x clock\n", "0 clock\n", "7 \n"] {
                try damage.write(toFile: file.fencePath, atomically: false, encoding: .utf8)
                #expect(throws: FencedFileError.self) { try Self.replace(file, stamp(9), "nine") }
            }
            #expect(try Self.contents(file.path) == "one")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 2)
        }
    }

    @Test(arguments: ["", "a\nb", "a\u{7F}", "a\u{0}b", String(repeating: "d", count: 129)])
    func `a domain that a fence cannot remember is refused, and the fence stays of use`(domain: String) async throws {
        try await withFolder { folder async throws in
            let file = try FencedFile(path: folder.appending(path: "file").path)
            _ = try Self.replace(file, stamp(1), "one")
            for adopting in [false, true] {
                #expect(throws: LockError.self) {
                    try Self.replace(file, stamp(2, domain), "two", adopting: adopting)
                }
            }
            #expect(try Self.contents(file.path) == "one")
            #expect(try Self.replace(file, stamp(2), "two") == .raised(from: stamp(1)))
        }
    }

    @Test func `a reader of the fence needs no right to write it`() async throws {
        try await withFolder { folder async throws in
            let file = try FencedFile(path: folder.appending(path: "file").path)
            #expect(try file.highest() == nil)
            #expect(!FileManager.default.fileExists(atPath: file.fencePath))
            _ = try Self.replace(file, stamp(1), "one")
            // Held by a writer, it is shown all the same.
            let held = try LockedFence.existing(path: PathBytes(file.fencePath))
            #expect(try file.highest() == stamp(1))
            withExtendedLifetime(held) {}
        }
    }

    /// Whoever waits for a fence that was replaced meanwhile must not go on with the old one.
    @Test func `whoever waited for the fence compares with the token that was put there meanwhile`() async throws {
        try await withFolder { folder async throws in
            let path = folder.appending(path: "fence").path
            var held: LockedFence? = try LockedFence.made(path: PathBytes(path), with: stamp(1))
            let waiting = Task.detached { try LockedFence.existing(path: PathBytes(path))?.highest }
            let inode = try #require(PathBytes(path).status).st_ino
            try await eventually("it has opened the old fence") {
                try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
                    .count { PathBytes("/proc/self/fd/\($0)").status?.st_ino == inode } == 2
            }
            var replaced: LockedFence? = try held?.replace(with: stamp(7))
            held = nil
            // It goes on to the new fence, and waits there.
            let other = open(path, O_RDONLY)
            #expect(flock(other, LOCK_EX | LOCK_NB) != 0)
            close(other)
            replaced = nil
            #expect(replaced == nil)
            #expect(try await waiting.value == stamp(7))
        }
    }

    // Of two who find no fence, one makes it; the other one compares with what it says.
    @Test func `a fence is made by one, and never empty`() async throws {
        try await withFolder { folder async throws in
            let path = PathBytes(folder.appending(path: "fence").path)
            #expect(try LockedFence.existing(path: path) == nil)
            var first: LockedFence? = try LockedFence.made(path: path, with: stamp(9))
            #expect(try LockedFence.made(path: path, with: stamp(3)) == nil)
            #expect(try LockedFence.shown(path: path) == stamp(9))
            first = nil
            #expect(first == nil)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["fence"])
        }
    }

    @Test func `a file is not its own fence, under any of its names`() async throws {
        try await withFolder { folder async throws in
            let (file, link, hard) = (folder.path + "/file", folder.path + "/link", folder.path + "/hard")
            #expect(throws: FencedFileError.self) { try FencedFile(path: file, fencePath: file) }
            #expect(throws: FencedFileError.self) { try FencedFile(path: file, fencePath: folder.path + "/./file") }
            #expect(throws: FencedFileError.self) { try FencedFile(path: file, fencePath: "") }
            try "old".write(toFile: file, atomically: false, encoding: .utf8)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
            try FileManager.default.linkItem(atPath: file, toPath: hard)
            for fence in [file, link, hard] {
                #expect(throws: FencedFileError.self) { try FencedFile(path: file, fencePath: fence) }
            }
        }
    }

    @Test func `a path need not be text`() async throws {
        try await withFolder { folder async throws in
            let path = PathBytes(Array(folder.path.utf8) + Array("/caf".utf8) + [0xE9])
            let file = try FencedFile(path: path, fencePath: nil)
            _ = try Self.replace(file, stamp(5), "five")
            #expect(throws: FenceRefusal.self) { try Self.replace(file, stamp(4), "four") }
            let descriptor = path.withCString { open($0, O_RDONLY) }
            #expect(descriptor >= 0)
            close(descriptor)
            let fence = folder.path.utf8 + Array("/.caf".utf8) + [0xE9] + Array(".fence".utf8)
            #expect(PathBytes(fence).status != nil)
        }
    }

    @Test
    func `a process that is killed right after the token was remembered leaves the old contents, and may be retried`()
        async throws
    {
        try await withFolder { folder async throws in
            let file = try FencedFile(path: folder.appending(path: "file").path)
            _ = try Self.replace(file, stamp(1), "one")
            // What such a process leaves: the new token in the fence, the old contents.
            _ = try LockedFence.existing(path: PathBytes(file.fencePath))?.replace(with: stamp(2))
            #expect(try Self.contents(file.path) == "one")
            #expect(throws: FenceRefusal.self) { try Self.replace(file, stamp(1), "stale") }
            #expect(try Self.replace(file, stamp(2), "two") == .same)
            #expect(try Self.contents(file.path) == "two")
        }
    }
}
