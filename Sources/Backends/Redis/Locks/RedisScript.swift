import DistributedLocks
import NIOCore
import RESP
import RedisClient

/// One of the Lua scripts in Scripts/, embedded in the code.
///
/// It is called by its hash (EVALSHA). The hashes stand in Scripts/SHA1SUMS, written by scripts/lua-sums.sh; a test
/// compares them with those that a server computes.
struct RedisScript: Sendable {
    let name: String
    let text: String
    let hash: String

    /// Its last argument is the epoch of the connection that carries the call: see Scripts/epoch.lua.
    let takesEpoch: Bool

    private init(_ name: String, _ body: [UInt8], takesEpoch: Bool = false) {
        self.name = takesEpoch ? "sentinel-" + name : name
        self.takesEpoch = takesEpoch
        let body = takesEpoch ? PackageResources.epoch_lua + body : body
        // Shared functions stand in a file of their own, and are put where a script says so: behind its fast path.
        self.text = String(decoding: body, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map { Self.shared[$0] ?? $0 }.joined(separator: "\n")
        guard let hash = Self.hashes[self.name] else { preconditionFailure("no hash of \(self.name) in SHA1SUMS") }
        self.hash = hash
        precondition(hash.utf8.count == 40)
    }

    private static let shared: [Substring: Substring] = [
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

    // Of one instance of a Redlock; `status` serves both.
    static let instanceAcquire = RedisScript("instance-acquire", PackageResources.instance_acquire_lua)
    static let instanceWait = RedisScript("instance-wait", PackageResources.instance_wait_lua)
    static let instanceRelease = RedisScript("instance-release", PackageResources.instance_release_lua)
    static let instanceRenew = RedisScript("instance-renew", PackageResources.instance_renew_lua)
    static let instanceBreak = RedisScript("instance-break", PackageResources.instance_break_lua)
    static let instanceNode = RedisScript("instance-node", PackageResources.instance_node_lua)

    /// Those of an instance of a Redlock.
    static let allOfInstance = [
        instanceAcquire, instanceWait, instanceRelease, instanceRenew, instanceBreak, instanceNode, status,
    ]
}

/// How a script is called.
enum ScriptCall {
    /// By its hash.
    case byHash
    /// With its text, which the server then knows by its hash.
    case withText
}

extension RedisScript {
    /// The command that calls the script for one lock.
    func command(_ call: ScriptCall, key: String, _ arguments: [ScriptArgument]) -> RedisCommand {
        // Enough for the words of the command, the key, an owner and some numbers.
        let capacity = 512 + key.utf8.count + (call == .withText ? self.text.utf8.count : 0)
        var bytes = ByteBufferAllocator().buffer(capacity: capacity)
        let count = arguments.reduce(0) { $0 + $1.count }
        bytes.writeRESPArrayHeader(count: 4 + count + (self.takesEpoch ? 1 : 0))
        switch call {
        case .byHash:
            bytes.writeStaticString("$7\r\nEVALSHA\r\n$40\r\n")
            bytes.writeString(self.hash)
            bytes.writeStaticString("\r\n$1\r\n1\r\n")
        case .withText:
            bytes.writeStaticString("$4\r\nEVAL\r\n")
            bytes.writeRESPBulk(self.text)
            bytes.writeStaticString("$1\r\n1\r\n")
        }
        bytes.writeRESPBulk(key)
        bytes.writeArguments(arguments)
        return RedisCommand(bytes: bytes, endsWithTag: self.takesEpoch)
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
}

extension ScriptArgument {
    /// Encodes arguments that are sent more than once.
    static func encoded(_ arguments: [ScriptArgument]) -> ScriptArgument {
        var bytes = ByteBufferAllocator().buffer(capacity: 256)
        bytes.writeArguments(arguments)
        return .encoded(bytes, count: arguments.reduce(0) { $0 + $1.count })
    }
}

extension ByteBuffer {
    fileprivate mutating func writeArguments(_ arguments: [ScriptArgument]) {
        for argument in arguments {
            switch argument {
            case .owner(let secret, let suffix):
                self.writeStaticString("$")
                self.writeString(String(OwnerText.secretLength + suffix.count))
                self.writeStaticString("\r\n")
                _ = secret.withUnsafeBytes { secret in
                    self.writeWithUnsafeMutableBytes(minimumWritableBytes: OwnerText.secretLength) { target in
                        var index = 0
                        Base64URL.encode(secret) {
                            target[index] = $0
                            index += 1
                        }
                        return index
                    }
                }
                self.writeBytes(suffix)
                self.writeStaticString("\r\n")
            case .number(let number):
                self.writeRESPBulk(number)
            case .text(let text):
                self.writeRESPBulk(text)
            case .encoded(let encoded, _):
                self.writeImmutableBuffer(encoded)
            }
        }
    }
}
