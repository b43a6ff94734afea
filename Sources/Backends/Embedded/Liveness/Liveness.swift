#if Embedded
import DistributedLocks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// How a client shows that it lives: it listens on a socket and never accepts.
///
/// Whoever waits for it connects, and stays connected: the kernel ends the connection the moment the last descriptor of
/// the listener is closed, however its process died. To connect is to test and to watch in one step, with no instant in
/// between. A process that inherits the descriptor keeps the client alive in the eyes of others, which is how the
/// watchdog of `dlock run` keeps a lock until the command is dead.
///
/// (A record lock would have to be polled, or waited for by a thread, and a user may have 128 inotify instances only.)
final class LivenessSocket: Sendable {
    let descriptor: Int32
    private let name: String
    private let folder: SocketFolder

    /// - Throws: `LockError` `unreachable` if the socket cannot be made.
    init(_ participant: ParticipantID, in folder: SocketFolder) throws(LockError) {
        self.folder = folder
        self.name = participant.hexadecimal
        self.descriptor = UnixSocket.make(.stream)
        // Under its own name only when it listens: a socket that is not listening yet looks dead.
        let hidden = "." + self.name
        guard self.descriptor >= 0,
            folder.withAddress(hidden, { bind(self.descriptor, $0, $1) }) == 0,
            listen(self.descriptor, Int32(Int16.max)) == 0,
            folder.rename(hidden, to: self.name) == 0
        else {
            let text = EmbeddedLocation.errorText()
            if self.descriptor >= 0 { close(self.descriptor) }
            throw LockError(.unreachable, "no socket can be made in \(folder.path) (\(text))")
        }
    }

    var isInPlace: Bool { self.folder.contains(self.name) }

    /// Ends this client in the eyes of others, unless another process has the descriptor.
    func shutDown() {
        self.folder.remove(self.name)
        close(self.descriptor)
    }
}

/// What a look at another client gave.
enum LivenessTest {
    /// It lives; the descriptor becomes readable when it dies, and is the caller's to close.
    case alive(descriptor: Int32)
    case dead
    /// Its socket is missing, too busy or out of reach, which proves nothing: its lease decides.
    case unknown

    static func test(_ participant: ParticipantID, in folder: SocketFolder) -> LivenessTest {
        let descriptor = UnixSocket.make(.stream)
        guard descriptor >= 0 else { return .unknown }
        if folder.withAddress(participant.hexadecimal, { connect(descriptor, $0, $1) }) == 0 {
            return .alive(descriptor: descriptor)
        }
        let code = errno
        close(descriptor)
        return code == ECONNREFUSED ? .dead : .unknown
    }

    static func isDead(_ participant: ParticipantID, in folder: SocketFolder) -> Bool {
        switch Self.test(participant, in: folder) {
        case .alive(let descriptor):
            close(descriptor)
            return false
        case .dead: return true
        case .unknown: return false
        }
    }

    /// Some clients that died without removing their sockets.
    static func someDead(in folder: SocketFolder, atMost limit: Int) -> [ParticipantID] {
        folder.names(atMost: 512).shuffled().prefix(limit).compactMap { name in
            // "<id>" and "<id>.wake"; ".<id>" is one that is being made.
            guard !name.hasPrefix("."), let number = UInt64(name.prefix { $0 != "." }, radix: 16) else { return nil }
            let participant = ParticipantID(rawValue: Int64(bitPattern: number))
            return Self.isDead(participant, in: folder) ? participant : nil
        }
    }

    /// Removes the sockets of a dead client. Only when nothing in the file refers to it any more: a socket that is
    /// missing does not prove death.
    static func removeSockets(of dead: ParticipantID, in folder: SocketFolder) {
        folder.remove(dead.hexadecimal)
        folder.remove(WakeSocket.name(of: dead))
    }
}
#endif
