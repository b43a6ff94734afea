import LockKernel

/// One connection of a client. Later connections have greater numbers.
struct RedisConnectionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    let rawValue: UInt64

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    var description: String { "#\(self.rawValue)" }
}

/// What a server answered.
struct RedisReply: Sendable {
    /// Never an error: those are thrown as ``RedisError/Code/refused``.
    let value: RESPValue
    /// An instant before the first byte of the request was handed to the connection.
    let sentAt: BootInstant
    /// The connection that carried the request and its reply.
    let connection: RedisConnectionID
    /// That connection's tag: see ``RedisLocation/tag``. 0 where the endpoint is fixed.
    let tag: Int64

    init(
        value: RESPValue,
        sentAt: BootInstant,
        connection: RedisConnectionID,
        tag: Int64 = 0
    ) {
        self.value = value
        self.sentAt = sentAt
        self.connection = connection
        self.tag = tag
    }
}
