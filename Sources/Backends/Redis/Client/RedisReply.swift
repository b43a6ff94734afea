package import LockKernel
package import RESP

/// One connection of a client. Later connections have greater numbers.
package struct RedisConnectionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "#\(self.rawValue)" }
}

/// What a server answered.
package struct RedisReply: Sendable {
    /// Never an error: those are thrown as ``RedisError/Code/refused``.
    package let value: RESPValue
    /// An instant before the first byte of the request was handed to the connection.
    package let sent: Moment
    package var sentAt: ContinuousClock.Instant { self.sent.instant }
    /// The connection that carried the request and its reply.
    package let connection: RedisConnectionID
    /// That connection's tag: see ``RedisLocation/tag``. 0 where the endpoint is fixed.
    package let tag: Int64

    package init(
        value: RESPValue,
        sent: Moment,
        connection: RedisConnectionID,
        tag: Int64 = 0
    ) {
        self.value = value
        self.sent = sent
        self.connection = connection
        self.tag = tag
    }
}
