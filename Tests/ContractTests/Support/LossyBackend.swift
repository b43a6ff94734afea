import DistributedLocks
import Synchronization
import TestKit

/// Loses requests and replies on the way to and from another backend, by a seeded chance.
///
/// A lost request is not carried out; a lost reply is carried out. The client sees `outcomeUnknown` for both.
final class LossyBackend: LockBackend {
    private let inner: any LockBackend
    private let chance: Double
    private let random: Mutex<SeededGenerator>

    init(_ inner: any LockBackend, chance: Double, seed: UInt64) {
        self.inner = inner
        self.chance = chance
        self.random = Mutex(SeededGenerator(seed: seed))
    }

    var identity: String { self.inner.identity }
    var capabilities: LockCapabilities { self.inner.capabilities }
    func start(delivering sink: any LockEventSink) { self.inner.start(delivering: sink) }
    func run() async throws { try await self.inner.run() }

    private func lossy<Value>(_ exchange: () async throws(LockError) -> Value) async throws(LockError) -> Value {
        if self.happens() { throw LockError(.outcomeUnknown, "the request was lost by the test") }
        let value = try await exchange()
        if self.happens() { throw LockError(.outcomeUnknown, "the reply was lost by the test") }
        return value
    }

    private func happens() -> Bool { self.random.withLock { Double.random(in: 0..<1, using: &$0) } < self.chance }

    func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        try await self.lossy { () async throws(LockError) in try await self.inner.request(request) }
    }

    func withdraw(_ claim: LockClaim) async throws(LockError) {
        try await self.lossy { () async throws(LockError) in try await self.inner.withdraw(claim) }
    }

    func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] {
        if self.happens() {
            return renewals.map { _ in .failed(LockError(.outcomeUnknown, "lost by the test")) }
        }
        return await self.inner.renew(renewals)
    }

    func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply {
        try await self.lossy { () async throws(LockError) in try await self.inner.release(claim) }
    }

    func status(of name: LockName?) async throws(LockError) -> [LockStatus] { try await self.inner.status(of: name) }

    func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        try await self.inner.breakLock(name, immediately: immediately)
    }
}
