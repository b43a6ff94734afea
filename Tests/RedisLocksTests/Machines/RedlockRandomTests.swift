import DistributedLocks
import LockKernel
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// Random lives of a ``RedlockMachine``, on instances that lose answers and connections, against what must hold in all of them.
@Suite struct RedlockRandomTests {
    /// What one instance has. Requests are carried out as the scripts do, as far as it matters here.
    private struct Instance {
        var isConnected = false
        var locks: [String: (owner: LockOwner.Secret, isTold: LockOwner.Secret?)] = [:]
        var fences: [String: Int64] = [:]
        var turns: Set<LockOwner.Secret> = []
    }

    private struct Asked {
        let request: RedlockMachine.Request
        let instance: Int
        let sentAt: BootInstant
    }

    private struct Life {
        let configuration: RedlockConfiguration
        var random: SeededGenerator
        var now = BootInstant.now
        var machine: RedlockMachine
        var instances: [Instance]
        var out: [Asked] = []
        var alarm: BootInstant?
        var timers: Set<RedlockMachine.Timer> = []
        var calls: Set<UInt64> = []
        var lastCall: UInt64 = 0
        /// Claims that have not been taken back, by their attempts.
        var claims: [UInt64: LockClaim] = [:]
        var lastToken: [String: Int64] = [:]
        /// How many instances have granted a token.
        var grants: [Int64: Int] = [:]
        var grantCount = 0

        private struct Entropy: EntropySource {
            let seed: UInt64

            func fill(_ words: inout [UInt64]) {
                var generator = SeededGenerator(seed: self.seed)
                for index in words.indices { words[index] = generator.next() }
            }
        }

        init(seed: UInt64) {
            var random = SeededGenerator(seed: seed)
            let count = Int.random(in: 3...5, using: &random)
            self.configuration = RedlockConfiguration(servers: (0..<count).map { .tcp(host: "\($0)", port: 1) })
            self.random = random
            self.machine = RedlockMachine(
                self.configuration, BufferedRandomNumberGenerator(Entropy(seed: seed)), now: self.now)
            self.instances = Array(repeating: Instance(), count: count)
        }

        mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self.random) < percent }

        mutating func feed(_ event: (inout RedlockMachine, BootInstant) -> Void) {
            event(&self.machine, self.now)
            while let effect = self.machine.next() { self.carryOut(effect) }
        }

        private mutating func carryOut(_ effect: RedlockMachine.Effect) {
            switch effect {
            case .ask(let request, let instances, let first, _):
                var asked: [Int] = []
                instances.forEach(from: first) { asked.append($0) }
                for index in asked { self.out.append(Asked(request: request, instance: index, sentAt: self.now)) }
            case .answer(let call, let answer):
                #expect(self.calls.remove(call.rawValue) != nil, "call \(call.rawValue) was answered twice")
                if case .granted(let grant) = answer { self.granted(grant.token.rawValue) }
            case .tell(.granted(_, let grant)): self.granted(grant.token.rawValue)
            case .wake(let instant): self.alarm = instant
            case .start(let timer, _): self.timers.insert(timer)
            case .cancel(let timer): self.timers.remove(timer)
            case .tell, .holdRequests, .letRequestsGo, .setNode, .begin, .awaitEndOfTurn, .leaveIfSilent, .leave,
                .hurry,
                .note, .disconnect, .finish:
                break
            }
        }

        private mutating func granted(_ token: Int64) {
            self.grantCount += 1
            #expect(self.grants[token, default: 0] >= self.configuration.policy.quorum, "a grant without a quorum")
        }

        mutating func nextCall() -> CallID {
            self.lastCall += 1
            self.calls.insert(self.lastCall)
            return CallID(rawValue: self.lastCall)
        }
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func `each call is answered once, each grant has a quorum, and nothing is left on the instances`(seed: UInt64) {
        var life = Life(seed: seed)
        life.feed { $0.started(onlyLooks: false, now: $1) }
        for index in life.instances.indices { self.connect(index, &life) }
        for attempt in 1...400 as ClosedRange<UInt64> {
            switch Int.random(in: 0..<100, using: &life.random) {
            case 0..<12: self.request(attempt, &life)
            case 12..<22: self.withdraw(&life)
            case 22..<25: self.cancel(&life)
            case 25..<28: self.renew(&life)
            case 28..<31: self.change(&life)
            case 31..<35: self.pass(.milliseconds(Int.random(in: 1...400, using: &life.random)), &life)
            default: self.deliver(&life, losing: 4)
            }
        }
        // All is well from now on: what is taken back is released.
        for index in life.instances.indices where !life.instances[index].isConnected { self.connect(index, &life) }
        for attempt in life.claims.keys.sorted() { self.withdraw(attempt, isAwaited: true, &life) }
        for _ in 0..<40 {
            while !life.out.isEmpty { self.deliver(&life, losing: 0) }
            self.pass(.milliseconds(500), &life)
        }
        #expect(life.calls.isEmpty, "\(life.calls.count) calls were not answered")
        for instance in life.instances { #expect(instance.locks.isEmpty, "a lock is left") }
        // What no quorum has confirmed is known until its keys have ended.
        self.pass(.seconds(121), &life)
        #expect(life.machine.count == 0)
    }

    @Test func `locks are granted in those lives`() {
        var count = 0
        for seed in 0..<20 as Range<UInt64> {
            var life = Life(seed: seed)
            life.feed { $0.started(onlyLooks: false, now: $1) }
            for index in life.instances.indices { self.connect(index, &life) }
            for attempt in 1...100 as ClosedRange<UInt64> {
                if attempt % 5 == 0 { self.request(attempt, &life) } else { self.deliver(&life, losing: 1) }
                if attempt % 20 == 0 { self.withdraw(&life) }
            }
            count += life.grantCount
        }
        #expect(count > 40)
    }

    // MARK: What callers do

    private func request(_ attempt: UInt64, _ life: inout Life) {
        let locks = ["a", "b", "c"]
        guard let name = try? LockName(locks[Int.random(in: 0..<3, using: &life.random)]) else { return }
        let owner = LockOwner(
            secret: LockOwner.Secret(using: &life.random), metadata: OwnerMetadata(host: "h", pid: 1))
        // Leases are longer than these lives: what is left is not forgotten by itself.
        let claim = LockClaim(attempt: AttemptID(rawValue: attempt), name: name, owner: owner, lease: .seconds(60))
        life.claims[attempt] = claim
        let request = AcquireRequest(claim: claim, joinsQueue: life.chance(70), deadline: nil)
        let call = life.nextCall()
        life.feed { $0.requested(request, call, now: $1) }
    }

    private func withdraw(_ life: inout Life) {
        guard let attempt = life.claims.keys.sorted().randomElement(using: &life.random) else { return }
        self.withdraw(attempt, isAwaited: life.chance(50), &life)
    }

    private func withdraw(_ attempt: UInt64, isAwaited: Bool, _ life: inout Life) {
        life.claims[attempt] = nil
        let call = isAwaited ? life.nextCall() : nil
        life.feed { $0.withdrawn(AttemptID(rawValue: attempt), call, now: $1) }
    }

    private func cancel(_ life: inout Life) {
        guard let attempt = life.claims.keys.sorted().randomElement(using: &life.random) else { return }
        life.feed { $0.requestCancelled(AttemptID(rawValue: attempt), now: $1) }
    }

    private func renew(_ life: inout Life) {
        let until = (life.now + .seconds(10)).continuous
        let renewals = life.claims.sorted { $0.key < $1.key }.prefix(3).map {
            LockRenewal(claim: $0.value, deadline: until)
        }
        let call = life.nextCall()
        life.feed { $0.renewalsRequested(renewals, call, now: $1) }
    }

    private func pass(_ time: Duration, _ life: inout Life) {
        life.now += time
        for timer in life.timers.sorted(by: { "\($0)" < "\($1)" }) {
            life.timers.remove(timer)
            life.feed { $0.timerFired(timer, now: $1) }
        }
        guard let alarm = life.alarm, alarm <= life.now else { return }
        life.alarm = nil
        life.feed { $0.alarmFired(now: $1) }
    }

    // MARK: What instances do

    private func connect(_ index: Int, _ life: inout Life) {
        life.instances[index].isConnected = true
        life.feed { $0.connected(index, now: $1) }
    }

    /// A connection ends, or is made anew.
    private func change(_ life: inout Life) {
        let index = Int.random(in: life.instances.indices, using: &life.random)
        guard life.instances[index].isConnected else { return self.connect(index, &life) }
        life.instances[index].isConnected = false
        life.feed { $0.disconnected(index, RedisError(.outcomeUnknown, "it has ended"), now: $1) }
        while let place = life.out.firstIndex(where: { $0.instance == index }) {
            let asked = life.out.remove(at: place)
            // Whether it was carried out, nobody knows.
            if life.chance(50) { _ = self.carryOut(asked, &life) }
            self.answer(asked, .failure(RedisError(.outcomeUnknown, "it has ended")), &life)
        }
    }

    /// One request arrives and is answered. An instance takes them in their order.
    ///
    /// - Parameter percent: of the answers that are lost.
    private func deliver(_ life: inout Life, losing percent: Int) {
        guard let index = life.out.map(\.instance).randomElement(using: &life.random),
            let place = life.out.firstIndex(where: { $0.instance == index })
        else { return }
        let asked = life.out.remove(at: place)
        let value = self.carryOut(asked, &life)
        if life.chance(percent) {
            self.answer(asked, .failure(RedisError(.outcomeUnknown, "no answer in time")), &life)
        } else {
            let reply = RedisReply(value: value, sentAt: asked.sentAt, connection: RedisConnectionID(rawValue: 1))
            self.answer(asked, .success(reply), &life)
        }
    }

    private func carryOut(_ asked: Asked, _ life: inout Life) -> RESPValue {
        let policy = life.configuration.policy.text
        switch asked.request {
        case .lock(let proposal): return self.lock(proposal, asked.instance, &life)
        case .release(let release):
            if release.what == .turn {
                life.instances[asked.instance].turns.remove(release.owner)
                return .integer(1)
            }
            guard let held = life.instances[asked.instance].locks[release.key], held.owner == release.owner else {
                return .integer(0)
            }
            life.instances[asked.instance].locks[release.key] = nil
            if let told = held.isTold {
                life.feed { $0.messageCame(.freed(told, fence: 0), from: asked.instance, now: $1) }
            }
            return .integer(held.isTold == nil ? 1 : 2)
        case .renew(let renewal):
            return .integer(life.instances[asked.instance].locks[renewal.key]?.owner == renewal.owner ? 1 : 0)
        case .turn(let turn):
            if life.instances[asked.instance].turns.insert(turn.owner).inserted, life.chance(50) {
                return .array([.integer(0), .integer(50), self.text("")])
            }
            return .integer(5)
        case .introduction:
            return self.text("run_id:a\(asked.instance)\r\nrole:master\r\nmaxmemory_policy:noeviction")
        case .node:
            return .array([self.text(policy), self.text("a \(policy) 0 open"), .integer(10_000_000), .integer(0)])
        case .nothing: return .integer(0)
        }
    }

    private func lock(_ proposal: RedlockMachine.Proposal, _ index: Int, _ life: inout Life) -> RESPValue {
        let fence = life.instances[index].fences[proposal.key] ?? 0
        let told: [RESPValue] = [.integer(fence), .integer(10_000_000)]
        if life.instances[index].locks[proposal.key] != nil {
            if let owner = proposal.told { life.instances[index].locks[proposal.key]?.isTold = owner }
            return .array([.integer(0)] + told + [self.text(String(repeating: "h", count: 27))])
        }
        guard proposal.token > fence else { return .array([.integer(-1)] + told + [self.text("")]) }
        life.instances[index].fences[proposal.key] = proposal.token
        life.instances[index].locks[proposal.key] = (proposal.owner, nil)
        life.grants[proposal.token, default: 0] += 1
        return .integer(1)
    }

    private func text(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }

    private func answer(_ asked: Asked, _ result: Result<RedisReply, RedisError>, _ life: inout Life) {
        let index = asked.instance
        life.feed { machine, now in
            machine.answered(asked.request, by: index, result, now: now)
        }
    }
}
