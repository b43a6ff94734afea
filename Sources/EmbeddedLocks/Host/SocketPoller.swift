#if Embedded
/// Tells when sockets have something to read, or when their other side is gone.
package protocol SocketPoller: Sendable {
    /// Waits until a socket is readable or its peer is gone. The socket is the poller's from now on, which closes it.
    ///
    /// - Parameters:
    ///   - isOnce: the wait is over with the first time.
    ///   - ready: is called each time that there is something to read; for all sockets of a poller on one thread, one after
    ///     another, and never within a call of the poller's.
    func watch(_ socket: Int32, isOnce: Bool, ready: @escaping @Sendable () -> Void) -> SocketWatch

    /// Ends a wait, and closes its socket. Does nothing if it is over. The last call may be under way.
    func cancel(_ watch: SocketWatch)

    /// Leaves a socket alone until ``resume(_:)``.
    func pause(_ watch: SocketWatch)

    func resume(_ watch: SocketWatch)
}

/// Names what a poller waits for.
package struct SocketWatch: Hashable, Sendable {
    package let number: UInt64

    package init(number: UInt64) { self.number = number }
}
#endif
