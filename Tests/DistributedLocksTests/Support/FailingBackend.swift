import DistributedLocks
import LockTesting

/// A backend whose `run()` fails when it is told to.
struct FailingBackend: LockBackend {
    struct Failure: Error {}

    let base: InMemoryLockBackend
    let fails = Latch()

    var identity: String { self.base.identity }
    var capabilities: LockCapabilities { self.base.capabilities }

    func start(delivering sink: any LockEventSink) { self.base.start(delivering: sink) }

    func run() async throws {
        try await self.fails.waitUnlessCancelled()
        throw Failure()
    }

    func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        try await self.base.request(request)
    }

    func withdraw(_ claim: LockClaim) async throws(LockError) { try await self.base.withdraw(claim) }

    func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] { await self.base.renew(renewals) }

    func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply { try await self.base.release(claim) }

    func status(of name: LockName?) async throws(LockError) -> [LockStatus] { try await self.base.status(of: name) }

    func revoke(_ name: LockName, immediately: Bool) async throws(LockError) -> RevokeReply {
        try await self.base.revoke(name, immediately: immediately)
    }
}
