import DistributedLocks
import NIOCore
import RESP

/// What acquire and touch answer (see Scripts/acquire.lua and Scripts/touch.lua).
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

    /// `nil` if it is no answer of ours.
    init?(_ value: RESPValue) {
        if let number = value.int {
            guard let token = FencingToken(rawValue: number) else { return nil }
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
        case renewed, notHeld, revoked
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
        case -1: self.outcome = .revoked
        default: return nil
        }
        self.serverMilliseconds = milliseconds
    }
}

/// What a client is told by a message on its channel.
enum PushedMessage: Equatable, Sendable {
    case granted(OwnerKey, FencingToken)
    case revoked(OwnerKey)

    /// `nil` if it is no message of ours.
    init?(_ elements: [RESPValue]) {
        guard elements.count == 3, elements[0].string == "message" else { return nil }
        let payload: ByteBuffer
        switch elements[2] {
        case .bulkString(let buffer), .simpleString(let buffer): payload = buffer
        default: return nil
        }
        let words = payload.readableBytesView.split(separator: UInt8(ascii: " "))
        guard words.count >= 2, let owner = OwnerKey(text: words[1]) else { return nil }
        if words.count == 3, words[0].elementsEqual("granted".utf8) {
            guard let token = FencingToken(String(decoding: words[2], as: UTF8.self)) else { return nil }
            self = .granted(owner, token)
        } else if words.count == 2, words[0].elementsEqual("revoked".utf8) {
            self = .revoked(owner)
        } else {
            return nil
        }
    }
}
