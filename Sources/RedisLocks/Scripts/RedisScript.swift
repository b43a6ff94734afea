import DistributedLocks
import LockKernel
import NIOCore

/// One of the Lua scripts in Lua/, embedded in the code.
///
/// It is called by its hash (EVALSHA), and by its text where the server does not know it: the connection sees to that. The
/// hashes stand in Lua/SHA1SUMS, written by scripts/lua-sums.sh; a test compares them with those that a server computes.
final class RedisScript: Sendable {
    let name: String
    private let stored: StoredScript
    var text: String { self.stored.text }
    var hash: String { self.stored.hash }

    /// Its last argument is the epoch of the connection that carries the call: see Scripts/Lua/epoch.lua.
    let takesEpoch: Bool

    /// How a call by hash begins, by the number of its arguments. They are encoded once, as calls are most of the work.
    private let heads: [[UInt8]]
    private static let headCount = 12

    private init(_ name: String, _ body: [UInt8], takesEpoch: Bool = false) {
        self.name = takesEpoch ? "sentinel-" + name : name
        self.takesEpoch = takesEpoch
        let body = takesEpoch ? PackageResources.epoch_lua + body : body
        // Shared functions stand in a file of their own, and are put where a script says so: behind its fast path.
        let text = String(decoding: body, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map { Self.shared[$0] ?? $0 }.joined(separator: "\n")
        guard let hash = Self.hashes[self.name] else { preconditionFailure("no hash of \(self.name) in SHA1SUMS") }
        let stored = StoredScript(text: text, hash: hash)
        self.stored = stored
        self.heads = (0..<Self.headCount).map { count in
            Array("*\(4 + count)\r\n".utf8) + stored.hashWords + Array("$1\r\n1\r\n".utf8)
        }
    }

    private static let shared: [Substring: Substring] = [
        "--@include base": Substring(decoding: PackageResources.base_lua, as: UTF8.self),
        "--@include common": Substring(decoding: PackageResources.common_lua, as: UTF8.self),
        "--@include instance-common": Substring(decoding: PackageResources.instance_common_lua, as: UTF8.self),
    ]

    private static let hashes: [String: String] = {
        var hashes: [String: String] = [:]
        for line in String(decoding: PackageResources.SHA1SUMS, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            hashes[String(words[1])] = String(words[0])
        }
        return hashes
    }()

    static let acquire = RedisScript("acquire", PackageResources.acquire_lua)
    static let release = RedisScript("release", PackageResources.release_lua)
    static let renew = RedisScript("renew", PackageResources.renew_lua)
    static let touch = RedisScript("touch", PackageResources.touch_lua)
    static let cancel = RedisScript("cancel", PackageResources.cancel_lua)
    static let `break` = RedisScript("break", PackageResources.break_lua)
    static let status = RedisScript("status", PackageResources.status_lua)

    /// Those of one master, at a fixed place or found by Sentinels.
    static let all = Group.oneMaster.scripts + Group.sentinel.scripts.filter(\.takesEpoch)

    /// The scripts that a client uses, by what they do.
    struct Group: Sendable {
        let acquire: RedisScript
        let release: RedisScript
        let renew: RedisScript
        let touch: RedisScript
        let cancel: RedisScript
        let `break`: RedisScript
        let status: RedisScript

        /// For a master at a fixed place.
        static let oneMaster = Group(
            acquire: .acquire,
            release: .release,
            renew: .renew,
            touch: .touch,
            cancel: .cancel,
            break: .break,
            status: .status
        )

        /// For a master that is found by Sentinels: those that can grant take an epoch.
        static let sentinel = Group(
            acquire: RedisScript("acquire", PackageResources.acquire_lua, takesEpoch: true),
            release: RedisScript("release", PackageResources.release_lua, takesEpoch: true),
            renew: .renew,
            touch: RedisScript("touch", PackageResources.touch_lua, takesEpoch: true),
            cancel: RedisScript("cancel", PackageResources.cancel_lua, takesEpoch: true),
            break: RedisScript("break", PackageResources.break_lua, takesEpoch: true),
            status: .status
        )

        var scripts: [RedisScript] {
            [self.acquire, self.release, self.renew, self.touch, self.cancel, self.break, self.status]
        }
    }

    // Of one instance of a Redlock; `acquire`, `touch` and `cancel` serve for the turn there, and `status` serves both.
    static let instanceAcquire = RedisScript("instance-acquire", PackageResources.instance_acquire_lua)
    static let instanceRelease = RedisScript("instance-release", PackageResources.instance_release_lua)
    static let instanceRenew = RedisScript("instance-renew", PackageResources.instance_renew_lua)
    static let instanceBreak = RedisScript("instance-break", PackageResources.instance_break_lua)
    static let instanceNode = RedisScript("instance-node", PackageResources.instance_node_lua)

    /// Those of an instance of a Redlock.
    static let allOfInstance = [
        instanceAcquire, instanceRelease, instanceRenew, instanceBreak, instanceNode, acquire, touch, cancel, status,
    ]
}

extension RedisScript {
    /// The command that calls the script for one lock.
    ///
    /// - Parameter tailCount: how many arguments are missing, which have to follow as the command's tail.
    func command(key: String, _ arguments: [ScriptArgument], tailCount: Int = 0) -> RedisCommand {
        var count = (self.takesEpoch ? 1 : 0) + tailCount
        var room = RESPWriter.bulkRoom(key.utf8.count)
        for argument in arguments {
            count += argument.count
            room += argument.room
        }
        let head = self.heads[count]
        room += head.count
        var bytes = ByteBufferAllocator().buffer(capacity: room)
        self.write(head, key, arguments, room: room, to: &bytes)
        return RedisCommand(bytes: bytes, calling: self.stored, endsWithTag: self.takesEpoch)
    }

    /// All in one go, as looking whether there is room is most of the work.
    private func write(
        _ head: [UInt8], _ key: String, _ arguments: [ScriptArgument], room: Int, to bytes: inout ByteBuffer
    ) {
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            var writer = RESPWriter(target)
            head.withUnsafeBytes { writer.write($0) }
            writer.writeBulk(key)
            writer.write(arguments)
            return writer.lengthInBytes
        }
    }
}

/// An argument of a script.
enum ScriptArgument {
    case owner(LockOwner.Secret, suffix: [UInt8])
    case number(Int64)
    case text(String)
    /// Several, encoded before because they are sent more than once.
    case encoded(ByteBuffer, count: Int)

    /// How many arguments it stands for.
    var count: Int {
        if case .encoded(_, let count) = self { count } else { 1 }
    }

    /// The room that it takes at most.
    var room: Int {
        switch self {
        case .owner(_, let suffix): RESPWriter.bulkRoom(OwnerText.secretLength + suffix.count)
        case .number: RESPWriter.numberRoom
        case .text(let text): RESPWriter.bulkRoom(text.utf8.count)
        case .encoded(let bytes, _): bytes.readableBytes
        }
    }
}

extension ScriptArgument {
    /// Encodes arguments that are sent more than once.
    static func encoded(_ arguments: [ScriptArgument]) -> ScriptArgument {
        let room = arguments.reduce(0) { $0 + $1.room }
        var bytes = ByteBufferAllocator().buffer(capacity: room)
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
            var writer = RESPWriter(target)
            writer.write(arguments)
            return writer.lengthInBytes
        }
        return .encoded(bytes, count: arguments.reduce(0) { $0 + $1.count })
    }
}

extension RESPWriter {
    fileprivate mutating func write(_ arguments: [ScriptArgument]) {
        for argument in arguments { self.write(argument) }
    }

    private mutating func write(_ argument: ScriptArgument) {
        switch argument {
        case .owner(let secret, let suffix):
            self.writeBulkHead(lengthInBytes: OwnerText.secretLength + suffix.count)
            // In one piece, as each write looks whether there is room.
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: OwnerText.secretLength) { text in
                var length = 0
                secret.withUnsafeBytes { secret in
                    Base64URL.encode(secret) { character in
                        text[length] = character
                        length += 1
                    }
                }
                self.write(UnsafeRawBufferPointer(text))
            }
            suffix.withUnsafeBytes { self.write($0) }
            self.writeLineBreak()
        case .number(let number):
            self.writeBulk(number)
        case .text(let text):
            self.writeBulk(text)
        case .encoded(let encoded, _):
            encoded.withUnsafeReadableBytes { self.write($0) }
        }
    }
}
