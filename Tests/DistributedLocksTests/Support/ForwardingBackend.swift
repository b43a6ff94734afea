import DistributedLocks

/// A backend that passes everything on to another one, but for what it does itself.
protocol ForwardingBackend: LockBackend {
    associatedtype Base: LockBackend
    var base: Base { get }
}

extension ForwardingBackend {
    var identity: String { self.base.identity }
    var capabilities: LockCapabilities { self.base.capabilities }

    func start(delivering sink: any LockEventSink) { self.base.start(delivering: sink) }

    func run() async throws { try await self.base.run() }

    func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
        try await self.base.request(request)
    }

    func withdraw(_ claim: LockClaim) async throws(LockError) { try await self.base.withdraw(claim) }

    func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] { await self.base.renew(renewals) }

    func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply { try await self.base.release(claim) }

    func trouble() async -> LockError? { await self.base.trouble() }

    func status(of name: LockName?) async throws(LockError) -> [LockStatus] { try await self.base.status(of: name) }

    func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
        try await self.base.breakLock(name, immediately: immediately)
    }
}
