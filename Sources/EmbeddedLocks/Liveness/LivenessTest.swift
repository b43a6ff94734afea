#if Embedded
import DistributedLocks
import LockKernel

/// What a look at another client gave.
enum LivenessTest {
    /// It lives; the descriptor becomes readable when it dies or lets go of the connection, and is the caller's to close.
    case alive(descriptor: Int32)
    case dead
    /// Its socket is missing, too busy or out of reach, which proves nothing: its lease decides.
    case unknown

    static func test(_ participant: ParticipantID, in folder: SocketFolder) -> LivenessTest {
        guard let descriptor = try? folder.make(.stream) else { return .unknown }
        do {
            try folder.connect(descriptor, to: participant.hexadecimal)
            return .alive(descriptor: descriptor)
        } catch {
            folder.close(descriptor)
            return error.code == ECONNREFUSED ? .dead : .unknown
        }
    }

    static func isDead(_ participant: ParticipantID, in folder: SocketFolder) -> Bool {
        switch Self.sight(participant, in: folder) {
        case .dead: true
        case .alive, .unknown: false
        }
    }

    static func sight(_ participant: ParticipantID, in folder: SocketFolder) -> EarlierBoot.Sight {
        // Whoever takes datagrams lives. To ask there makes no connection, which its owner would have to accept. The
        // watchdog of `dlock run` takes none, so that a refusal says nothing.
        if Self.takesDatagrams(participant, in: folder) { return .alive }
        switch Self.test(participant, in: folder) {
        case .alive(let descriptor):
            folder.close(descriptor)
            return .alive
        case .dead: return .dead
        case .unknown: return .unknown
        }
    }

    private static func takesDatagrams(_ participant: ParticipantID, in folder: SocketFolder) -> Bool {
        guard let descriptor = try? folder.make(.datagram) else { return false }
        defer { folder.close(descriptor) }
        return (try? folder.connect(descriptor, to: WakeSocket.name(of: participant))) != nil
    }

    /// Some clients that died without removing their sockets.
    static func someDead(in folder: SocketFolder, atMost limit: Int, _ environment: Environment) -> [ParticipantID] {
        var generator = environment.generator
        return folder.names(atMost: 512).shuffled(using: &generator).prefix(limit).compactMap { name in
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
