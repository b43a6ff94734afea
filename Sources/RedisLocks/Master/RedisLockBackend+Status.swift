public import DistributedLocks
import NIOCore

extension RedisLockBackend {
    /// Tells who holds and who waits.
    ///
    /// Without a name, it looks for keys with the prefix by SCAN, which blocks the server for no longer than any other
    /// command: what is taken or released meanwhile may be missing or shown. A key whose name is not UTF-8 is no lock, and left out.
    /// A lock that this user may not look at is shown with that (`LockStatus.obstacles`), unless none may be looked at.
    public func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
        if let name { return [try await self.status(of: name)] }
        var names: Set<LockName> = []
        let prefix = self.configuration.keyPrefix
        for key in try await self.scan(matching: Self.globEscaped(prefix) + "*") {
            guard !RedisLockConfiguration.reservedPrefixes.contains(where: { key.hasPrefix($0) }) else { continue }
            if let name = try? LockName(String(key.dropFirst(prefix.count))) { names.insert(name) }
        }
        // A lock whose holder died may have a queue only.
        let queue = "dlock.queue:{"
        for key in try await self.scan(matching: Self.globEscaped(queue + prefix) + "*}") {
            let name = key.dropFirst(queue.count + prefix.count).dropLast()
            if let name = try? LockName(String(name)) { names.insert(name) }
        }
        var found: [LockStatus] = []
        var refusal: LockError?
        var answered = 0
        for name in names.sorted(by: { $0.rawValue < $1.rawValue }) {
            do throws(LockError) {
                let status = try await self.status(of: name)
                answered += 1
                // Without a prefix any key in the database could be somebody's: only locks of this package are shown.
                let isShown =
                    prefix.isEmpty
                    ? status.holder?.metadata != nil : status.holder != nil || !status.obstacles.isEmpty
                if isShown || !status.waiters.isEmpty { found.append(status) }
            } catch  where error.code == .serverRefused {
                refusal = error
                found.append(LockStatus(name: name, unreadable: error, at: try self.configuration.key(of: name)))
            }
        }
        if let refusal, answered == 0 { throw refusal }
        return found
    }

    private func status(of name: LockName) async throws(LockError) -> LockStatus {
        let reply = try await self.call(
            self.scripts.status,
            key: try self.configuration.key(of: name),
            [.number(Int64(StatusReply.maximumWaiters))],
            deadline: self.deadline(nil)
        )
        guard let answer = StatusReply(reply.value) else { throw .strangeReply(.status) }
        return answer.status(of: name, key: try self.configuration.key(of: name), epoch: reply.tag)
    }

    private func scan(matching pattern: String) async throws(LockError) -> [String] {
        var keys: [String] = []
        var cursor = "0"
        repeat {
            let command = RedisCommand("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
            let reply = try await self.ask(command, deadline: self.deadline(nil))
            guard let parts = reply.value.elements, parts.count == 2, let next = parts[0].string,
                let page = parts[1].elements
            else { throw LockError(.serverRefused, "the server's answer to SCAN makes no sense") }
            cursor = next
            keys += page.compactMap(\.validString)
        } while cursor != "0"
        return keys
    }

    static func globEscaped(_ text: String) -> String {
        String(text.flatMap { "*?[]^\\-".contains($0) ? ["\\", $0] : [$0] })
    }

    /// Breaks a lock by hand.
    ///
    /// The holder is told by its channel, and again by its next renewal. A holder that uses another library cannot be told; its
    /// lock stays as it is, unless `immediately` is set.
    public func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        let reply = try await self.call(
            self.scripts.break,
            key: try self.configuration.key(of: name),
            [.number(immediately ? 1 : 0)],
            deadline: self.deadline(nil)
        )
        if case .null = reply.value { return .notHeld }
        guard let holder = reply.value.string else { throw .strangeReply(.break) }
        guard immediately || OwnerText.isOurs(holder) else {
            return .cannotBeTold(remainingLease: try await self.status(of: name).holder?.remainingLease)
        }
        return .broken(OwnerText.metadata(of: holder))
    }
}

extension LockStatus {
    /// Of a lock that this user may not look at.
    init(name: LockName, unreadable error: LockError, at place: String) {
        self.init(
            name: name,
            holders: [],
            waiters: [],
            lastToken: nil,
            tokenDomain: .clock,
            obstacles: [
                Obstacle(place: place, reason: "cannot be looked at: \(error.message)", hidesHolder: true)
            ]
        )
    }
}

extension RESPValue {
    /// The text of a string that is UTF-8.
    var validString: String? {
        self.bytes.flatMap { String(validating: $0.readableBytesView, as: UTF8.self) }
    }
}

/// What status.lua answers.
struct StatusReply {
    /// So many waiters of a lock are told of at most: what an answer may hold is bounded (`RESPLimits`).
    static let maximumWaiters = 1_000

    var holder: String
    /// `nil`: it never ends.
    var remainingMilliseconds: Int64?
    var fence: String
    var serverMilliseconds: Int64
    var waiters: [(owner: String, joinedMilliseconds: Int64)] = []
    /// How many more stand in the queue.
    var otherWaiters: Int
    /// Which of the lock's keys are of another type, and of which one: `lock list,queue hash`.
    var strangeKeys: String

    init?(_ value: RESPValue) {
        guard let elements = value.elements, elements.count >= 6, let holder = elements[0].string,
            let remaining = elements[1].int, let fence = elements[2].string, let now = elements[3].int,
            let others = elements[4].int, others >= 0, let strange = elements[5].string
        else { return nil }
        self.holder = holder
        self.remainingMilliseconds = remaining < 0 ? nil : remaining
        self.fence = fence
        self.serverMilliseconds = now
        self.otherWaiters = Int(clamping: others)
        self.strangeKeys = strange
        var rest = elements[6...]
        while let owner = rest.popFirst() {
            guard let owner = owner.string, let joined = rest.popFirst()?.int else { return nil }
            self.waiters.append((owner, joined))
        }
    }

    /// - Parameters:
    ///   - key: the lock's.
    ///   - epoch: the master's. The holder's token has this one or an earlier one, which nobody keeps.
    func status(of name: LockName, key: String, epoch: Int64 = 0) -> LockStatus {
        let count = Int64(self.fence.prefix { $0.isNumber })
        let token = count.flatMap { FencingToken(epoch: epoch, count: $0) }
        var holder: LockStatus.Holder?
        if !self.holder.isEmpty {
            let metadata = OwnerText.metadata(of: self.holder)
            holder = LockStatus.Holder(
                metadata: metadata,
                token: metadata == nil ? nil : token,
                remainingLease: self.remainingMilliseconds.map { .milliseconds($0) },
                heldFor: metadata == nil ? nil : count.flatMap(self.since),
                isBroken: OwnerText.isBroken(self.holder)
            )
        }
        return LockStatus(
            name: name,
            holders: holder.map { [$0] } ?? [],
            waiters: self.waiters.map { owner, joined in
                LockStatus.Waiter(
                    metadata: OwnerText.metadata(of: owner),
                    waitingFor: .milliseconds(max(self.serverMilliseconds - joined, 0))
                )
            },
            lastToken: token,
            tokenDomain: .clock,
            waiterCount: self.waiters.count + self.otherWaiters,
            obstacles: self.obstacles(key)
        )
    }

    private func obstacles(_ key: String) -> [LockStatus.Obstacle] {
        self.strangeKeys.split(separator: ",").compactMap { entry in
            let words = entry.split(separator: " ")
            guard words.count == 2 else { return nil }
            let type = words[1] == "?" ? "another type than a lock's" : "type \(words[1])"
            return LockStatus.Obstacle(
                place: words[0] == "lock" ? key : "dlock.\(words[0]):{\(key)}",
                reason: "another program's key, of \(type)",
                hidesHolder: words[0] == "lock"
            )
        }
    }

    /// A token, without its epoch, is the server's time at the grant, unless that clock was set back.
    private func since(_ count: Int64) -> Duration? {
        let granted = count / 62_500 * 1_000 + count % 62_500 * 16 / 1_000 + 1_735_689_600_000
        let held = self.serverMilliseconds - granted
        return held >= 0 ? .milliseconds(held) : nil
    }
}
