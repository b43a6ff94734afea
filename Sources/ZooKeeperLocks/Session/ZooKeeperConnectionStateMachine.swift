import DequeModule
import LockKernel
import LockTransport
import NIOCore

/// One connection: the greeting, then requests that are answered in the order in which they were sent, and watch events in
/// between.
///
/// States: *greeting*, *open*, *closed*. Pings and authentication have numbers of their own and are not counted.
struct ZooKeeperConnectionStateMachine<Completion> {
    typealias Instant = BootInstant

    struct Pending {
        let xid: Int32
        let request: ZooKeeperRequest
        let sentAt: Instant
        let completion: Completion
    }

    enum FrameAction {
        case greeted(ConnectResponse)
        /// The answer is still to be read, from the reader.
        case answer(Pending, ReplyHeader, JuteReader)
        case watch(WatchEvent)
        case authenticated(Bool)
        case nothing(zxid: Int64)
        case close(String)
    }

    enum TimerAction: Equatable {
        case wait(until: Instant)
        case ping(next: Instant)
        case close(String)
    }

    private enum State {
        case greeting(deadline: Instant)
        case open(timeout: Duration)
        case closed
    }

    private var state: State
    private var pending: Deque<Pending> = []
    private var lastXid: Int32 = 0
    private var lastHeard: Instant
    private var lastSent: Instant
    private let patience: Duration
    private let limits: JuteLimits

    /// - Parameters:
    ///   - deadline: until when the greeting has to be answered.
    ///   - patience: how long that was from the beginning.
    init(deadline: Instant, patience: Duration, now: Instant, limits: JuteLimits) {
        self.patience = patience
        self.state = .greeting(deadline: deadline)
        self.lastHeard = now
        self.lastSent = now
        self.limits = limits
    }

    var inFlightCount: Int { self.pending.count }

    var isClosed: Bool {
        switch self.state {
        case .closed: true
        case .greeting, .open: false
        }
    }

    /// A request leaves. Returns its number.
    mutating func sent(_ request: ZooKeeperRequest, completion: Completion, at sentAt: Instant) -> Int32 {
        self.lastSent = sentAt
        if let xid = request.fixedXid, xid != ZooKeeperRequest.watchesXid { return xid }
        let xid: Int32
        if let fixed = request.fixedXid {
            xid = fixed
        } else {
            // Wraps around to 1: negative numbers have meanings of their own.
            self.lastXid = self.lastXid == Int32.max ? 1 : self.lastXid + 1
            xid = self.lastXid
        }
        self.pending.append(Pending(xid: xid, request: request, sentAt: sentAt, completion: completion))
        return xid
    }

    mutating func heard(now: Instant) {
        self.lastHeard = now
    }

    mutating func frame(_ frame: ByteBuffer) -> FrameAction {
        var reader = JuteReader(frame, limits: self.limits)
        do {
            switch self.state {
            case .greeting:
                return .greeted(try ConnectResponse(from: &reader))
            case .open:
                return try self.reply(&reader)
            case .closed:
                return .nothing(zxid: 0)
            }
        } catch {
            return .close("\(error)")
        }
    }

    private mutating func reply(_ reader: inout JuteReader) throws(JuteError) -> FrameAction {
        let header = try ReplyHeader(from: &reader)
        switch header.xid {
        case ZooKeeperRequest.watchXid:
            return .watch(try WatchEvent(from: &reader))
        case ZooKeeperRequest.pingXid:
            return .nothing(zxid: header.zxid)
        case ZooKeeperRequest.authenticationXid:
            return .authenticated(header.error == .ok)
        default:
            guard let first = self.pending.first else { return .close("a reply to nothing, numbered \(header.xid)") }
            guard first.xid == header.xid else {
                return .close("the reply numbered \(header.xid) where that to \(first.xid) was due")
            }
            self.pending.removeFirst()
            return .answer(first, header, reader)
        }
    }

    mutating func opened(timeout: Duration) {
        self.state = .open(timeout: timeout)
    }

    /// A server that is silent for two thirds of the timeout is left, so that a third is left to attach elsewhere; a ping
    /// leaves when nothing else has for a third of it. These are the times of the Java client.
    mutating func timerFired(now: Instant) -> TimerAction {
        switch self.state {
        case .greeting(let deadline):
            return now >= deadline
                ? .close(Silence.reason(request: "the greeting", for: self.patience)) : .wait(until: deadline)
        case .open(let timeout):
            let silence = self.lastHeard + timeout * 2 / 3
            if now >= silence { return .close("the server has been silent for \((timeout * 2 / 3).brief)") }
            let ping = self.lastSent + timeout / 3
            if now >= ping {
                self.lastSent = now
                return .ping(next: min(now + timeout / 3, silence))
            }
            return .wait(until: min(ping, silence))
        case .closed:
            return .close("the connection was closed")
        }
    }

    /// Returns what will have no answer; `nil` if it was closed before.
    mutating func closed() -> Deque<Pending>? {
        guard !self.isClosed else { return nil }
        self.state = .closed
        defer { self.pending = [] }
        return self.pending
    }
}

extension ZooKeeperRequest {
    static var pingXid: Int32 { -2 }
    static var authenticationXid: Int32 { -4 }
    static var watchesXid: Int32 { -8 }
}
