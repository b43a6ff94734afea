#if Embedded
import DistributedLocks
import LockKernel

/// Takes and sends the datagrams by which clients on one host wake each other.
///
/// A datagram says whom to look for, and nothing that is believed: the file tells what is true. One that is lost delays
/// its receiver until its backstop, no more.
final class WakeSocket: Sendable {
    enum SendResult {
        case sent
        /// Nobody listens: the receiver is dead, or its socket was removed.
        case nobody
        /// The receiver has too many unread: try again later.
        case full
    }

    private let sender: Int32
    private let name: String
    private let folder: SocketFolder
    private let poller: any SocketPoller
    private let watch: SocketWatch
    private static let messageLength = 9

    static func name(of participant: ParticipantID) -> String { participant.hexadecimal + ".wake" }

    /// - Parameter receive: Is called on the poller's thread for each datagram.
    /// - Throws: `LockError` `unreachable` if a socket cannot be made.
    init(
        _ participant: ParticipantID,
        in folder: SocketFolder,
        poller: any SocketPoller,
        receive: @escaping @Sendable (Notice.Kind, AttemptID) -> Void
    ) throws(LockError) {
        self.folder = folder
        self.name = Self.name(of: participant)
        let (receiver, sender) = try Self.makeSockets(self.name, in: folder)
        self.sender = sender
        self.poller = poller
        self.watch = poller.watch(receiver, isOnce: false) { Self.receiveAll(receiver, folder, receive) }
    }

    private static func makeSockets(
        _ name: String, in folder: SocketFolder
    ) throws(LockError) -> (receiver: Int32, sender: Int32) {
        var made: [Int32] = []
        do {
            for _ in 0..<2 { made.append(try folder.make(.datagram)) }
            try folder.bind(made[0], to: name)
            return (made[0], made[1])
        } catch {
            for socket in made { folder.close(socket) }
            throw LockError(.unreachable, "no socket can be made in \(folder.path) (\(error.text))")
        }
    }

    var isInPlace: Bool { self.folder.contains(self.name) }

    func shutDown(leavingName: Bool) {
        if !leavingName { self.folder.remove(self.name) }
        self.poller.cancel(self.watch)
    }

    // Not before: somebody may be sending.
    deinit { self.folder.close(self.sender) }

    func send(_ notice: Notice) -> SendResult {
        var message = [UInt8](repeating: 0, count: Self.messageLength)
        message[0] = notice.kind.rawValue
        withUnsafeBytes(of: notice.address.attempt.rawValue.littleEndian) { bytes in
            for (index, byte) in bytes.enumerated() { message[1 + index] = byte }
        }
        do {
            try self.folder.send(message, from: self.sender, to: Self.name(of: notice.address.participant))
            return .sent
        } catch {
            return error.code == EAGAIN || error.code == ENOBUFS ? .full : .nobody
        }
    }

    private static func receiveAll(
        _ socket: Int32, _ folder: SocketFolder, _ receive: (Notice.Kind, AttemptID) -> Void
    ) {
        var message = [UInt8](repeating: 0, count: Self.messageLength + 1)
        while let count = try? folder.receive(socket, into: &message) {
            guard count == Self.messageLength, let kind = Notice.Kind(rawValue: message[0]) else { continue }
            let number = message[1...8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            receive(kind, AttemptID(rawValue: number))
        }
    }
}
#endif
