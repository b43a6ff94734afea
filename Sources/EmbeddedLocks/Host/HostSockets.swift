#if Embedded
package import LockKernel

/// The unix sockets of a host as one process has them. None of the calls waits.
///
/// When a process ends, whatever it has open is closed, and the names of its sockets stay: who connects to one is refused.
package protocol HostSockets: Sendable {
    /// Opens a folder in which sockets have names.
    func openFolder(_ path: String) throws(HostFailure) -> SocketPlace

    /// Lets go of a folder.
    func closeFolder(_ place: SocketPlace)

    /// A socket without a name, which a child process does not inherit.
    func make(_ kind: SocketKind) throws(HostFailure) -> Int32

    /// Gives a socket a name.
    func bind(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure)

    /// - Parameter limit: so many connections wait to be accepted, and no more.
    func listen(_ socket: Int32, limit: Int32) throws(HostFailure)

    /// The next connection that waits; EAGAIN if there is none.
    func accept(_ socket: Int32) throws(HostFailure) -> Int32

    /// ECONNREFUSED if nobody listens at that name, or takes datagrams there, any more.
    func connect(_ socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure)

    /// Sends a datagram, as a whole. EAGAIN or ENOBUFS if its receiver has too many unread.
    func send(_ bytes: [UInt8], from socket: Int32, to name: String, in place: SocketPlace) throws(HostFailure)

    /// Takes the next datagram, of which what has no room is cut off. Returns how long it is.
    func receive(_ socket: Int32, into bytes: inout [UInt8]) throws(HostFailure) -> Int

    func close(_ socket: Int32)

    func rename(_ old: String, to new: String, in place: SocketPlace) throws(HostFailure)

    /// Removes a name. Does nothing if there is none.
    func remove(_ name: String, in place: SocketPlace)

    func contains(_ name: String, in place: SocketPlace) -> Bool

    /// Some of the names, in the order in which the folder gives them.
    func names(in place: SocketPlace, atMost limit: Int) -> [String]

    /// What tells when there is something to read.
    func makePoller(_ environment: Environment) throws(HostFailure) -> any SocketPoller
}

package enum SocketKind: Sendable {
    case stream
    case datagram
}

/// A folder that is open.
package struct SocketPlace: Sendable {
    package let path: String
    package let descriptor: Int32

    package init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }
}
#endif
