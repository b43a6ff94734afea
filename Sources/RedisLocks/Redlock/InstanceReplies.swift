import DistributedLocks
import NIOCore

/// What instance-acquire.lua answers.
struct InstanceAcquireReply: Equatable, Sendable {
    enum Outcome: Equatable, Sendable {
        case granted
        case busy(holder: String)
        /// Empty: nobody holds it there.
        case behind(holder: String)
        case tooFarAhead
        /// It has restarted, or is not open: look who it is.
        case anotherNode
    }

    var outcome: Outcome
    var told: RedlockRoundStateMachine.Told?
    /// How long the holder's lease still lasts there, if it ends at all and who asks has the turn.
    var remaining: Duration?

    /// `nil` if it is no answer of ours.
    init?(_ value: RESPValue) {
        if value.int == 1 {
            self.outcome = .granted
            return
        }
        guard let elements = value.elements, let code = elements.first?.int else { return nil }
        if code == -9, elements.count == 1 {
            self.outcome = .anotherNode
            return
        }
        guard elements.count == 4 || elements.count == 5, let fence = elements[1].int,
            let time = elements[2].int, let holder = elements[3].string
        else { return nil }
        if elements.count == 5 {
            guard let left = elements[4].int else { return nil }
            if left >= 0 { self.remaining = .milliseconds(left) }
        }
        self.told = RedlockRoundStateMachine.Told(fence: fence, time: time)
        switch code {
        case 0: self.outcome = .busy(holder: holder)
        case -1: self.outcome = .behind(holder: holder)
        case -2: self.outcome = .tooFarAhead
        default: return nil
        }
    }
}

/// What instance-node.lua answers.
struct InstanceNodeReply: Equatable, Sendable {
    /// Empty if the instance has none.
    var policy: String
    /// What the other scripts compare with.
    var node: String
    var time: Int64
    /// Zero: it is open.
    var opensIn: Duration

    /// Nothing was ever granted there, for all that the instance knows.
    var wasNeverOpen: Bool { self.node.isEmpty || self.words.count > 7 && self.words[7].hasSuffix(".0") }

    /// `nil` if it is no answer of ours.
    init?(_ value: RESPValue) {
        guard let elements = value.elements, elements.count == 4, let policy = elements[0].string,
            let node = elements[1].string, let time = elements[2].int, let left = elements[3].int, left >= 0
        else { return nil }
        self.policy = policy
        self.node = node
        self.time = time
        self.opensIn = .milliseconds(left)
    }

    /// It has been taken out of its set.
    var isRemoved: Bool { self.words.count > 7 && self.words[7] == "removed" }

    /// Tokens up to this one may have been granted there and forgotten, or granted by an earlier generation.
    var floor: Int64 { self.words.count > 6 ? Int64(self.words[6]) ?? 0 : 0 }

    /// For how long it has had its policy, by its own clock; `nil`: since it was set up.
    var hasHadPolicyFor: Duration? {
        guard self.words.count > 8, let since = Int64(self.words[8]) else { return nil }
        return .milliseconds(Self.milliseconds(atTicks: self.time) - since)
    }

    private static func milliseconds(atTicks ticks: Int64) -> Int64 { 1_735_689_600_000 + ticks * 2 / 125 }

    private var words: [Substring] { self.node.split(separator: " ") }
}

/// What a server says of itself (`INFO server replication memory`), as far as it matters here.
struct InstanceInfo: Equatable, Sendable {
    var runID = ""
    var role = ""
    /// Of a replica.
    var master = ""
    var evictionPolicy = ""

    /// `nil` if it is no such answer.
    init?(_ value: RESPValue) {
        guard let text = value.string else { return nil }
        var host = ""
        var port = ""
        for line in text.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = String(line[line.index(after: colon)...])
            switch line[..<colon] {
            case "run_id": self.runID = value
            case "role": self.role = value
            case "master_host": host = value
            case "master_port": port = value
            case "maxmemory_policy": self.evictionPolicy = value
            default: break
            }
        }
        if !host.isEmpty { self.master = "\(host):\(port)" }
        guard !self.runID.isEmpty,
            self.runID.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) })
        else { return nil }
    }

    /// Why this server cannot be an instance.
    var objection: String? {
        if self.role != "master" {
            return
                "this is a replica of \(self.master); the instances of a Redlock are masters, independent of each other"
        }
        // The server must not throw locks and fences away when its memory is full.
        if !self.evictionPolicy.isEmpty, self.evictionPolicy != "noeviction" {
            return "its maxmemory-policy is \(self.evictionPolicy), which throws locks away: it must be noeviction"
        }
        return nil
    }
}

/// What a client of a Redlock is told by a message on its channel.
enum InstanceMessage: Equatable, Sendable {
    /// It has the turn now.
    ///
    /// - Parameter time: the instance's clock, or a little more, in the units of tokens.
    case turn(LockOwner.Secret, time: Int64)
    /// The lock is free there.
    case freed(LockOwner.Secret, fence: Int64)
    case broken(LockOwner.Secret)

    /// `nil` if it is no message of ours.
    init?(_ elements: [RESPValue]) {
        guard let (words, owner) = PushedMessage.words(of: elements) else { return nil }
        let number = words.count == 3 ? Int64(String(decoding: words[2], as: UTF8.self)) : nil
        if let number, words[0].elementsEqual("free".utf8) {
            self = .freed(owner, fence: number)
        } else if let number, words[0].elementsEqual("granted".utf8) {
            self = .turn(owner, time: number)
        } else if words.count == 2, words[0].elementsEqual("revoked".utf8) {
            self = .broken(owner)
        } else {
            return nil
        }
    }
}
