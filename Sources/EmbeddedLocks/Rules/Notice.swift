#if Embedded
import DistributedLocks

/// Names a client with this file open: its rows, and its sockets.
struct ParticipantID: Hashable, Comparable, Sendable {
    let rawValue: Int64

    static func random(using generator: inout some RandomNumberGenerator) -> ParticipantID {
        ParticipantID(rawValue: .random(in: 1...Int64.max, using: &generator))
    }

    static func < (left: ParticipantID, right: ParticipantID) -> Bool { left.rawValue < right.rawValue }

    /// Sixteen hexadecimal digits.
    var hexadecimal: String {
        let digits = String(UInt64(bitPattern: self.rawValue), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// Names a claim among those of all clients.
struct ClaimAddress: Hashable, Sendable {
    let participant: ParticipantID
    let attempt: AttemptID
}

/// What has to be told to somebody once the transaction is committed.
struct Notice: Sendable, Hashable {
    enum Kind: UInt8, Sendable {
        /// Look at the file: you may have been granted the lock, or have another predecessor.
        case look = 1
        /// The lock was broken.
        case broken = 2
    }

    let kind: Kind
    let name: LockName
    let address: ClaimAddress
}
#endif
