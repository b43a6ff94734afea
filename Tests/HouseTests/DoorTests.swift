import Foundation
import Testing

/// There is one door to the outside: `Environment` in LockKernel, `Connector` in LockTransport, and the files and sockets of a host in
/// EmbeddedLocks. Whoever puts others in their place has all of that of the shipped code in hand.
@Suite struct DoorTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// What must not be done past the door, and where it may be done all the same.
    struct Rule: Sendable, CustomTestStringConvertible {
        let what: String
        let pattern: String
        let allowed: Set<String>

        var testDescription: String { self.what }
    }

    private static let door = "LockKernel/"
    private static let embeddedDoor = "EmbeddedLocks/Host/"
    /// What a user's URL names is read before there is a client.
    private static let secrets = "DistributedLocks/URLs/SecretSource.swift"

    static let rules = [
        Rule(
            what: "reading a clock",
            pattern:
                #"\b(ContinuousClock|SuspendingClock|NIODeadline|DispatchTime|Instant|BootInstant|Date)(\(\))?\.now\b|(?<=[ (])\.now\b|\bDate\(\)|clock_gettime|gettimeofday|ContinuousClock\(\)"#,
            // A clock that is driven by hand begins with the present, unless it is told otherwise.
            allowed: [Self.door, "LockTesting/ManualClock.swift"]
        ),
        Rule(
            what: "sleeping",
            pattern: #"\bTask\.sleep|\busleep\(|\bnanosleep\(|\bsched_yield\("#,
            allowed: [Self.door]
        ),
        Rule(
            what: "drawing a number",
            pattern:
                #"SystemRandomNumberGenerator|\.random\((in: (?!.*using:).*)?\)|\.shuffled\(\)|\.randomElement\(\)|getentropy|arc4random|\bUUID\(\)"#,
            allowed: [Self.door]
        ),
        Rule(
            what: "making a thread or a queue",
            pattern: #"\bDispatchQueue\b|\bDispatchSource\b|\bThread\(|detachNewThread|pthread_create"#,
            // An event loop has to name one.
            allowed: [Self.door, "LockSimulator/Network/SimulatedEventLoop.swift"]
        ),
        Rule(
            what: "connecting",
            pattern: #"\bClientBootstrap\b|\bDatagramBootstrap\b|\bServerBootstrap\b"#,
            allowed: ["LockTransport/NetworkAttempt.swift"]
        ),
        // The embedded backend's part of the door: a file system and the sockets of a host come as a whole.
        Rule(
            what: "touching files, unix sockets and /proc",
            pattern:
                #"(?<![.\w])(?<!func )(?<!case )(open|openat|fopen|opendir|fdopendir|readdir|fread|socket|socketpair|bind|listen|connect|accept|poll|recv|recvfrom|sendto|close|mkdir|unlink|unlinkat|rename|renameat|stat|lstat|fstat|chmod|fchmod|chown|lchown|readlink|realpath|access|faccessat|sysctlbyname)\((?!\))"#,
            allowed: [Self.embeddedDoor, Self.secrets]
        ),
        Rule(
            what: "asking the C library about descriptors and failures",
            pattern: #"\bfcntl\(|\berrno\b|\bcemb_(pipe|accept|mount_id)\("#,
            allowed: [Self.embeddedDoor, Self.secrets, "LockTransport/NetworkAttempt.swift"]
        ),
        Rule(
            what: "opening a database",
            pattern: #"\bDatabase(Queue|Pool)\(|\bsqlite3_(open\w*|vfs_\w+)\("#,
            // By the name that the host's files give the VFS.
            allowed: ["EmbeddedLocks/File/LockFile.swift", "LockSimulator/Embedded/"]
        ),
        Rule(
            what: "asking which process this is",
            pattern: #"(?<![.\w])(getpid|getppid|gethostname|uname|getuid|geteuid|getgid|getegid)\("#,
            allowed: [Self.door, Self.embeddedDoor]
        ),
        // Who may say that it is the machine's own environment: those that users make, and defaults for tests of a part.
        Rule(
            what: "naming the machine's own environment",
            pattern:
                #"(?<![\w.])\.system\b|Environment\.system\b|\bSystem(Time|Threads|Entropy|Process|Files|Sockets)\(\)"#,
            allowed: [
                Self.door, "LockTransport/Connector.swift", Self.embeddedDoor,
                "EmbeddedLocks/EmbeddedLockBackend.swift", "EmbeddedLocks/EmbeddedLocation.swift",
                "RedisLocks/Connection/RedisClient.swift", "RedisLocks/Sentinel/SentinelMonitor.swift",
                "RedisLocks/Redlock/RedlockBackend.swift",
                "RedisLocks/Master/RedisLockBackend.swift",
                "ZooKeeperLocks/Session/ZooKeeperClient.swift",
                "ZooKeeperLocks/ZooKeeperLockBackend.swift", "DistributedLocks/Client/Alarm.swift",
                "DistributedLocks/Client/LockClient.swift", "DistributedLocks/Contract/LockClock.swift",
                "DistributedLocks/Contract/LockOwner.swift",
            ]
        ),
    ]

    /// Lines of code of the library and the simulator, without comments. The resource's side and the programs stand outside.
    private static func lines() throws -> [(file: String, line: Int, text: String)] {
        let sources = Self.root.appending(path: "Sources")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        var lines: [(String, Int, String)] = []
        for case let file as URL in files where file.pathExtension == "swift" {
            let path = String(file.path.dropFirst(sources.path.count + 1))
            if ["dlock/", "lock-simulator/", "Supervision/", "Fencing"].contains(where: { path.hasPrefix($0) }) {
                continue
            }
            let text = try String(contentsOf: file, encoding: .utf8)
            for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let code = line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)[0]
                if !code.isEmpty { lines.append((path, number + 1, String(code))) }
            }
        }
        return lines
    }

    @Test(arguments: Self.rules)
    func `nothing goes past the door`(rule: Rule) throws {
        // Regex of the standard library has no look behind.
        let pattern = try NSRegularExpression(pattern: rule.pattern)
        var used: Set<String> = []
        for (file, line, text) in try Self.lines()
        where pattern.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil {
            if let place = rule.allowed.first(where: { file.hasPrefix($0) }) {
                used.insert(place)
            } else {
                Issue.record("\(file):\(line): \(rule.what) belongs to the environment: \(text)")
            }
        }
        #expect(used == rule.allowed, "these need no leave: \(rule.allowed.subtracting(used).sorted())")
    }
}
