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
    private let poller: SocketPoller
    private let watch: SocketPoller.Watch
    private static let messageLength = 9

    static func name(of participant: ParticipantID) -> String { participant.hexadecimal + ".wake" }

    /// - Parameter receive: Is called on the poller's thread for each datagram.
    /// - Throws: `LockError` `unreachable` if a socket cannot be made.
    init(
        _ participant: ParticipantID,
        in folder: SocketFolder,
        poller: SocketPoller,
        receive: @escaping @Sendable (Notice.Kind, AttemptID) -> Void
    ) throws(LockError) {
        self.folder = folder
        self.name = Self.name(of: participant)
        let receiver = UnixSocket.make(.datagram)
        let sender = UnixSocket.make(.datagram)
        guard receiver >= 0, sender >= 0, folder.bind(receiver, to: self.name) == 0 else {
            let text = EmbeddedLocation.errorText()
            if receiver >= 0 { close(receiver) }
            if sender >= 0 { close(sender) }
            throw LockError(.unreachable, "no socket can be made in \(folder.path) (\(text))")
        }
        self.sender = sender
        self.poller = poller
        self.watch = poller.watch(receiver, isOnce: false) { Self.receiveAll(receiver, receive) }
    }

    var isInPlace: Bool { self.folder.contains(self.name) }

    func shutDown(leavingName: Bool) {
        if !leavingName { self.folder.remove(self.name) }
        self.poller.cancel(self.watch)
    }

    // Not before: somebody may be sending.
    deinit { close(self.sender) }

    func send(_ notice: Notice) -> SendResult {
        var message = [UInt8](repeating: 0, count: Self.messageLength)
        message[0] = notice.kind.rawValue
        withUnsafeBytes(of: notice.address.attempt.rawValue.littleEndian) { bytes in
            for (index, byte) in bytes.enumerated() { message[1 + index] = byte }
        }
        let sent = self.folder.withAddress(Self.name(of: notice.address.participant)) { address, size in
            Int32(sendto(self.sender, message, message.count, Int32(MSG_DONTWAIT), address, size))
        }
        if sent == Int32(Self.messageLength) { return .sent }
        return errno == EAGAIN || errno == ENOBUFS ? .full : .nobody
    }

    private static func receiveAll(_ descriptor: Int32, _ receive: (Notice.Kind, AttemptID) -> Void) {
        var message = [UInt8](repeating: 0, count: Self.messageLength + 1)
        while true {
            let count = recv(descriptor, &message, message.count, Int32(MSG_DONTWAIT))
            if count < 0 { return }
            guard count == Self.messageLength, let kind = Notice.Kind(rawValue: message[0]) else { continue }
            let number = message[1...8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            receive(kind, AttemptID(rawValue: number))
        }
    }
}
#endif
