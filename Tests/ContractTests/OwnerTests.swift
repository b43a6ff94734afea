import DistributedLocks
import TestKit
import Testing

/// Exchanges are decided by the owner and can be repeated: asked of the backend itself, without a client that would renew.
@Suite(.timeLimit(.minutes(2)))
struct OwnerTests {
    private static let name = try? LockName("a")

    private static func request(_ claim: LockClaim, joinsQueue: Bool = false) -> AcquireRequest {
        AcquireRequest(claim: claim, joinsQueue: joinsQueue, deadline: ContinuousClock.now + .seconds(60))
    }

    private static func grant(_ reply: AcquireReply) -> LockGrant? {
        if case .granted(let grant) = reply { grant } else { nil }
    }

    @Test(arguments: ContractBackend.allCases)
    func `only the owner releases, and only once`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { first, _ in
                try await store.withBackend { second, _ in
                    let mine = Claims.make(name, attempt: 1)
                    let other = Claims.make(name, attempt: 1)
                    _ = try #require(Self.grant(try await first.request(Self.request(mine))))
                    #expect(try await second.release(other) == .notHeld)
                    guard case .busy = try await second.request(Self.request(other)) else {
                        Issue.record("the lock was released by somebody else")
                        return
                    }
                    #expect(try await first.release(mine) == .released)
                    #expect(try await first.release(mine) == .notHeld)
                }
            }
        }
    }

    // S4
    @Test(arguments: ContractBackend.allCases)
    func `a repeated release does not touch who holds the lock by then`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { first, _ in
                try await store.withBackend { second, _ in
                    let old = Claims.make(name, attempt: 1)
                    let new = Claims.make(name, attempt: 2)
                    _ = try await first.request(Self.request(old))
                    _ = try await first.release(old)
                    let grant = try #require(Self.grant(try await second.request(Self.request(new))))
                    #expect(try await first.release(old) == .notHeld)
                    try await first.withdraw(old)
                    #expect(try await first.status(of: name).first?.holder?.token == grant.token)
                    #expect(try await second.release(new) == .released)
                }
            }
        }
    }

    // S3
    @Test(arguments: ContractBackend.allCases)
    func `a request whose reply was lost is answered with the same grant`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { inner, _ in
                // The reply is lost on its way: the backend knows that it may be asked again.
                let lossy = LossyBackend(inner, chance: 0.5, seed: 7)
                for attempt in 0..<50 {
                    let claim = Claims.make(name, attempt: UInt64(attempt))
                    var grant: LockGrant?
                    while grant == nil {
                        grant = try? Self.grant(await lossy.request(Self.request(claim)))
                        let holder = try await inner.status(of: name).first?.holder
                        if let grant { #expect(holder?.token == grant.token) }
                    }
                    #expect(try await inner.release(claim) == .released)
                    #expect(try await inner.status(of: name).first?.holder == nil)
                }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a lease that passed frees the lock, and neither renews nor releases`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { first, _ in
                try await store.withBackend { second, events in
                    guard case .grant = first.capabilities.leaseScope else { return }
                    let short = Claims.make(name, attempt: 1, lease: .seconds(4))
                    let granted = try #require(Self.grant(try await first.request(Self.request(short))))
                    let waiting = Claims.make(name, attempt: 2)
                    guard case .queued = try await second.request(Self.request(waiting, joinsQueue: true)) else {
                        Issue.record("the lock is held, and the claim is to wait")
                        return
                    }
                    try await eventually("the waiter is granted the lock") { events.grant(of: waiting.attempt) != nil }
                    #expect(ContinuousClock.now >= granted.validUntil)
                    let next = try #require(events.grant(of: waiting.attempt))
                    #expect(next.token > granted.token)
                    let renewal = LockRenewal(claim: short, deadline: ContinuousClock.now + .seconds(60))
                    guard case .lost = await first.renew([renewal])[0] else {
                        Issue.record("a lost lease was renewed")
                        return
                    }
                    #expect(try await first.release(short) == .notHeld)
                    #expect(try await second.release(waiting) == .released)
                }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `an extension never makes a lock that is gone`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { only, _ in
                guard case .grant = only.capabilities.leaseScope else { return }
                let claim = Claims.make(name, attempt: 1)
                let renewal = LockRenewal(claim: claim, deadline: ContinuousClock.now + .seconds(60))
                guard case .lost = await only.renew([renewal])[0] else {
                    Issue.record("what was never held was renewed")
                    return
                }
                _ = try await only.request(Self.request(claim))
                guard case .extended(let until) = await only.renew([renewal])[0] else {
                    Issue.record("what is held was not renewed")
                    return
                }
                #expect(until > ContinuousClock.now + .seconds(20))
                _ = try await only.release(claim)
                guard case .lost = await only.renew([renewal])[0] else {
                    Issue.record("what was released was renewed")
                    return
                }
                #expect(try await only.status(of: name).first?.holder == nil)
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a withdrawn waiter is passed over, and a withdrawn grant handed over`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { first, _ in
                try await store.withBackend { second, events in
                    let claims = (1...4).map { Claims.make(name, attempt: UInt64($0)) }
                    _ = try await first.request(Self.request(claims[0]))
                    for claim in claims[1...] { _ = try await second.request(Self.request(claim, joinsQueue: true)) }
                    try await second.withdraw(claims[1])
                    try await second.withdraw(claims[1])
                    try await first.withdraw(claims[0])
                    try await eventually("the third is granted") { events.grant(of: claims[2].attempt) != nil }
                    #expect(events.grant(of: claims[1].attempt) == nil)
                    try await second.withdraw(claims[2])
                    try await eventually("the fourth is granted") { events.grant(of: claims[3].attempt) != nil }
                    #expect(try await second.release(claims[3]) == .released)
                    #expect(try await first.status(of: nil).isEmpty)
                }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a claim that asks twice while it waits has one place`(backend: ContractBackend) async throws {
        let name = try #require(Self.name)
        try await backend.withStore { store in
            try await store.withBackend { first, _ in
                try await store.withBackend { inner, events in
                    let holder = Claims.make(name, attempt: 1)
                    _ = try await first.request(Self.request(holder))
                    let waiting = Claims.make(name, attempt: 2)
                    let lossy = LossyBackend(inner, chance: 0.7, seed: 11)
                    for _ in 0..<20 { _ = try? await lossy.request(Self.request(waiting, joinsQueue: true)) }
                    _ = try await inner.request(Self.request(waiting, joinsQueue: true))
                    #expect(try await first.status(of: name).first?.waiters.count == 1)
                    _ = try await first.release(holder)
                    try await eventually("the waiter is granted") { events.grant(of: waiting.attempt) != nil }
                    #expect(try await inner.release(waiting) == .released)
                    #expect(try await first.status(of: nil).isEmpty)
                }
            }
        }
    }
}
