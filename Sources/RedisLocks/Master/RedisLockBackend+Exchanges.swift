public import DistributedLocks
import LockKernel
import LockTransport
import NIOCore

extension RedisLockBackend {
    /// Asks for a lock: one round trip.
    public func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        let claim = request.claim
        let key = try self.configuration.key(of: claim.name)
        let (owner, times) = self.requested(
            claim, maximumWaiters: request.joinsQueue ? self.configuration.maximumWaitersPerLock : nil)
        do {
            let reply = try await self.call(
                self.scripts.acquire,
                key: key,
                [owner, times],
                deadline: self.deadline(request.latest),
                waitsOutRefusals: true
            )
            let answer = try self.acquireAnswered(claim, reply)
            if self.confirmsGrants, case .granted = answer { try await self.confirm(claim, on: reply.connection) }
            return answer
        } catch {
            if error.code != .outcomeUnknown { self.ended(claim.attempt) }
            throw error
        }
    }

    private func acquireAnswered(_ claim: LockClaim, _ reply: RedisReply) throws(LockError) -> AcquireReply {
        guard let answer = ClaimReply(reply) else { throw .strangeReply(.acquire) }
        switch answer {
        case .granted(let token):
            let validUntil = self.ask { $0.acquireGranted(claim, sentAt: reply.sentAt) }
            return .granted(LockGrant(token: token, tokenDomain: .clock, validity: validUntil))
        case .queued(let place):
            let now = self.environment.now
            self.feed {
                $0.acquireQueued(claim.attempt, place, sentAt: reply.sentAt, connection: reply.connection, now: now)
            }
            return .queued(QueuePlace(waitersAhead: place.place, holders: OwnerText.holders(in: place.holder)))
        case .busy(let holder):
            self.ended(claim.attempt)
            return .busy(holders: OwnerText.holders(in: holder))
        case .full(let limit):
            throw LockError(.serverRefused, "\(limit) waiters for '\(claim.name)' are as many as may wait")
        case .gone:
            throw .strangeReply(.acquire)
        }
    }

    /// Leaves the queue, or releases what was granted meanwhile: one round trip.
    public func withdraw(_ claim: LockClaim) async throws(LockError) {
        self.ended(claim.attempt)
        let reply = try await self.call(
            self.scripts.cancel,
            key: try self.configuration.key(of: claim.name),
            [self.owner(of: claim)],
            deadline: self.deadline(nil)
        )
        guard reply.value.int != nil else { throw .strangeReply(.cancel) }
    }

    /// Renews grants: one command for each, all in one go.
    public func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        let commands = renewals.map { renewal in
            guard let key = try? self.configuration.key(of: renewal.claim.name) else {
                preconditionFailure("a grant with a name that no request can have had")
            }
            return RedisScript.renew.command(
                key: key, [self.owner(of: renewal.claim), .number(renewal.claim.lease.wholeMilliseconds)])
        }
        // A reply after the earliest deadline would be too late for that grant, but not for the others.
        let patience = self.patience(lease: renewals.map(\.claim.lease).min() ?? .zero, self.renewingClient)
        let latest = renewals.map(\.latest).max()
        let results = await self.renewingClient.send(commands, deadline: self.deadline(latest, patience: patience))
        if results.contains(where: \.isUnanswered) { self.heardNothing(for: patience, self.renewingClient) }
        return zip(renewals, results).map { self.renewed($0.claim, $1) }
    }

    private func renewed(_ claim: LockClaim, _ result: RedisClient.Outcome) -> LockRenewalReply {
        switch result {
        case .failure(let error):
            _ = self.isElsewhere(error, self.renewingClient)
            return .failed(LockError(error, calling: .renew))
        case .success(let reply):
            guard let renewal = RenewReply(reply.value) else { return .failed(.strangeReply(.renew)) }
            let now = self.environment.now
            self.feed { $0.clockRead(renewal.serverMilliseconds, sentAt: reply.sentAt, now: now) }
            switch renewal.outcome {
            case .renewed:
                let validUntil = LockValidity.deadline(lease: claim.lease, sentAt: reply.sentAt)
                return .extended(until: validUntil.continuous)
            case .notHeld:
                return .lost(.notOwner)
            case .broken:
                return .lost(.broken)
            }
        }
    }

    // MARK: - Scripts

    /// Calls a script, again and again where that helps: see ``MasterCall``.
    ///
    /// - Parameter waitsOutRefusals: what a server refuses for reasons that pass is asked twice a second until the deadline.
    func call(
        _ script: RedisScript,
        key: String,
        _ arguments: [ScriptArgument],
        deadline: BootInstant,
        inAnyCase: Bool = false,
        waitsOutRefusals: Bool = false
    ) async throws(LockError) -> RedisReply {
        var call = MasterCall(deadline: deadline, waitsOutRefusals: waitsOutRefusals)
        while true {
            do throws(RedisError) {
                let command = script.command(key: key, arguments)
                return inAnyCase
                    ? try await self.client.sendInAnyCase(command, deadline: deadline)
                    : try await self.client.send(command, deadline: deadline)
            } catch {
                guard try await self.isWorthAnother(&call, after: error) else {
                    throw LockError(error, calling: script)
                }
            }
        }
    }

    /// Sends a command that is no script, and is made again as a script's call is.
    func ask(_ command: RedisCommand, deadline: BootInstant) async throws(LockError) -> RedisReply {
        var call = MasterCall(deadline: deadline, waitsOutRefusals: false)
        while true {
            do throws(RedisError) {
                return try await self.client.send(command, deadline: deadline)
            } catch {
                guard try await self.isWorthAnother(&call, after: error) else { throw LockError(error) }
            }
        }
    }

    /// Comes back when a call is to be made again, or has failed.
    private func isWorthAnother(_ call: inout MasterCall, after error: RedisError) async throws(LockError) -> Bool {
        let wasLeft = self.isElsewhere(error, self.client)
        switch call.failed(error, wasLeft: wasLeft, now: self.environment.now) {
        case .again: return true
        case .fail: return false
        case .againAt(let instant):
            try await self.pause(until: instant, after: error)
            return true
        case .failAt(let instant):
            try await self.pause(until: instant, after: error)
            return false
        }
    }

    private func pause(until instant: BootInstant, after error: RedisError) async throws(LockError) {
        let refusal = LockError(error)
        self.feed { $0.refused(refusal) }
        try? await self.environment.time.sleep(until: instant)
        if Task.isCancelled { throw LockError(.cancelled, "cancelled while the server refused") }
    }

    /// Whether a server says that it is not the master any more, as far as this client should know. Then the connection is
    /// given up, and its place looked up anew: by the Sentinels, or a host's name, behind which another server may be by now.
    func isElsewhere(_ error: RedisError, _ client: RedisClient) -> Bool {
        guard error.isNoMaster || error.isEpochLow, let connection = error.connection
        else { return false }
        self.ask { $0.wasLeft() }
        client.reconnect(connection, error)
        return true
    }

    func deadline(_ deadline: BootInstant?, patience: Duration? = nil) -> BootInstant {
        let now = self.environment.now
        let latest = now + min(self.configuration.requestTimeout, patience ?? self.configuration.requestTimeout)
        return deadline.map { min($0, latest) } ?? latest
    }

    // MARK: Silence

    /// How long an answer about a claim is waited for that another question can still follow: a quarter of its lease, but never so
    /// little that a server which is only slow would be left.
    func patience(lease: Duration, _ client: RedisClient) -> Duration {
        max(lease.divided(by: 4), Self.shortestPatience, client.shortestSilence)
    }

    private static let shortestPatience: Duration = .milliseconds(250)

    /// No answer has come. If nothing else has come either, the connection may lead nowhere, while a new one would not.
    func heardNothing(for patience: Duration, _ client: RedisClient) {
        // A little less: the request was on its way to the connection for a moment.
        client.reconnectIfSilent(for: patience * 3 / 4)
    }

    /// A claim is over as far as this client is concerned.
    func ended(_ attempt: AttemptID) { self.ask { $0.ended(attempt) } }
}

extension Duration {
    /// Rounded up: a lease is never shorter on the server than the client believes.
    var wholeMilliseconds: Int64 {
        let (whole, rest) = self.attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        return Int64(rest > 0 ? whole + 1 : whole)
    }
}

extension RedisClient.Outcome {
    /// It was sent, and no answer came in time.
    var isUnanswered: Bool {
        if case .failure(let error) = self { error.code == .outcomeUnknown } else { false }
    }
}
