import DistributedLocks
import NIOCore

/// What acquire and touch answer (see Scripts/Lua/acquire.lua and Scripts/Lua/touch.lua).
enum ClaimReply: Equatable, Sendable {
    /// The lock is the owner's.
    case granted(FencingToken)
    case queued(QueueReply)
    case busy(holder: String)
    case full(waiters: Int)
    case gone

    struct QueueReply: Equatable, Sendable {
        /// 0 is the next one; `nil` if it is far behind.
        var place: Int?
        /// How long the holder's lease still lasts.
        var remaining: Remaining
        var holder: String
    }

    enum Remaining: Equatable, Sendable {
        /// Only the next one is told.
        case notLookedUp
        case unlimited
        case milliseconds(Int64)
    }

    init?(_ reply: RedisReply) { self.init(reply.value, epoch: reply.tag) }

    /// `nil` if it is no answer of ours.
    ///
    /// - Parameter epoch: that of the connection which carried the request: the script was given it.
    init?(_ value: RESPValue, epoch: Int64 = 0) {
        if let number = value.int {
            guard let token = FencingToken(epoch: epoch, count: number) else { return nil }
            self = .granted(token)
            return
        }
        guard let elements = value.elements, let kind = elements.first?.int else { return nil }
        switch kind {
        case -3 where elements.count == 1:
            self = .gone
        case -2 where elements.count == 2:
            guard let waiters = elements[1].int else { return nil }
            self = .full(waiters: Int(clamping: waiters))
        case -1 where elements.count == 3:
            guard let holder = elements[2].string else { return nil }
            self = .busy(holder: holder)
        case -4 where elements.count == 3, 0... where elements.count == 3:
            guard let remaining = elements[1].int, let holder = elements[2].string else { return nil }
            let left: Remaining
            switch remaining {
            case -3: left = .notLookedUp
            case -1: left = .unlimited
            // The key went away just now.
            case -2: left = .milliseconds(0)
            case 0...: left = .milliseconds(remaining)
            default: return nil
            }
            self = .queued(QueueReply(place: kind < 0 ? nil : Int(clamping: kind), remaining: left, holder: holder))
        default:
            return nil
        }
    }
}

/// What renew answers.
struct RenewReply: Equatable, Sendable {
    enum Outcome: Equatable, Sendable {
        case renewed, notHeld, broken
    }

    var outcome: Outcome
    /// The server's wall clock, in milliseconds since 1970.
    var serverMilliseconds: Int64

    init?(_ value: RESPValue) {
        guard let elements = value.elements, elements.count == 2, let outcome = elements[0].int,
            let milliseconds = elements[1].int
        else { return nil }
        switch outcome {
        case 1: self.outcome = .renewed
        case 0: self.outcome = .notHeld
        case -1: self.outcome = .broken
        default: return nil
        }
        self.serverMilliseconds = milliseconds
    }
}

/// What a client is told by a message on its channel.
enum PushedMessage: Equatable, Sendable {
    case granted(LockOwner.Secret, FencingToken)
    /// It was granted, and has to ask before that counts.
    case handedOver(LockOwner.Secret)
    case broken(LockOwner.Secret)

    /// `nil` if it is no message of ours.
    ///
    /// - Parameter hasEpochs: the message must tell the epoch with which the token was minted; the receiver's own may be
    ///   another. A message without one comes from a client that knows nothing of the Sentinels: its token is too low.
    init?(_ elements: [RESPValue], hasEpochs: Bool = false) {
        guard let (words, owner) = Self.words(of: elements) else { return nil }
        if words.count >= 3, words[0].elementsEqual("granted".utf8) {
            guard let count = Self.number(words[2]), count > 0 else { return nil }
            switch (words.count, hasEpochs) {
            case (3, false):
                guard let token = FencingToken(rawValue: count) else { return nil }
                self = .granted(owner, token)
            case (4, true):
                guard let epoch = Self.number(words[3]), let token = FencingToken(epoch: epoch, count: count) else {
                    return nil
                }
                self = .granted(owner, token)
            case (3, true):
                self = .handedOver(owner)
            case _:
                return nil
            }
        } else if words.count == 2, words[0].elementsEqual("revoked".utf8) {
            self = .broken(owner)
        } else {
            return nil
        }
    }

    private static func number(_ digits: some Collection<UInt8>) -> Int64? {
        guard digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return Int64(String(decoding: digits, as: UTF8.self))
    }
}

extension PushedMessage {
    /// The words of what was published, and the owner that it names; `nil` if it is no message of ours.
    static func words(of elements: [RESPValue]) -> (words: [ByteBufferView], owner: LockOwner.Secret)? {
        guard elements.count == 3, elements[0].string == "message" else { return nil }
        let payload: ByteBuffer
        switch elements[2] {
        case .bulkString(let buffer), .simpleString(let buffer): payload = buffer
        default: return nil
        }
        let words = payload.readableBytesView.split(separator: UInt8(ascii: " "))
        guard words.count >= 2, let owner = LockOwner.Secret(text: words[1]) else { return nil }
        return (words, owner)
    }
}
