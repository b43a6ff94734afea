import DistributedLocks
import LockTesting
import Synchronization
import Testing

/// What a body gives to the tasks that it starts.
@Suite(.timeLimit(.minutes(1))) struct ValidityTests {
    @Test func `it says the same as the lock that it was taken from, in any task`() async throws {
        try await withManualLocks { locks, _, clock in
            let error = await caught {
                try await locks.withLock("a", lease: .seconds(30)) { held in
                    let validity = held.validity
                    #expect(validity.name == held.name)
                    #expect(validity.token == held.token)
                    #expect(validity.tokenDomain == held.tokenDomain)
                    #expect(validity.validUntil == held.validUntil)
                    async let inChild = validity.isValid
                    #expect(await inChild)
                    #expect(await Task { validity.isValid }.value)
                    #expect(await Task.detached { validity.isValid }.value)
                    clock.advance(to: held.validUntil)
                    #expect(await Task { validity.isValid }.value == false)
                    #expect(throws: LockError.self) { try validity.checkValid() }
                    #expect(!validity.isValid)
                }
            }
            #expect(error?.lossReason == .leaseExpired)
        }
    }

    @Test func `it ends with the body, however that ends`() async throws {
        struct Failure: Error {}
        try await withManualLocks { locks, _, _ in
            let kept = Mutex<HeldLock.Validity?>(nil)
            try await locks.withLock("a") { held in kept.withLock { [validity = held.validity] in $0 = validity } }
            let returned = try #require(kept.withLock { $0 })
            #expect(!returned.isValid)
            #expect(await caught { try returned.checkValid() }?.code == .notHeld)

            await #expect(throws: Failure.self) {
                try await locks.withLock("a") { held in
                    kept.withLock { [validity = held.validity] in $0 = validity }
                    throw Failure()
                }
            }
            let thrown = try #require(kept.withLock { $0 })
            #expect(thrown.token > returned.token)
            #expect(!thrown.isValid)
            #expect(await caught { try thrown.checkValid() }?.code == .notHeld)
        }
    }

    @Test func `when the grant was lost it says so after the body, too`() async throws {
        try await withManualLocks { locks, _, _ in
            let kept = Mutex<HeldLock.Validity?>(nil)
            _ = await caught {
                try await locks.withLock("a") { held in
                    kept.withLock { [validity = held.validity] in $0 = validity }
                    _ = try await locks.breakLock("a")
                }
            }
            let lost = try #require(kept.withLock { $0 })
            #expect(!lost.isValid)
            #expect(await caught { try lost.checkValid() }?.lossReason == .broken)
        }
    }

    @Test func `it is not valid any more while the release is under way`() async throws {
        try await withManualLocks { locks, store, _ in
            let kept = Mutex<HeldLock.Validity?>(nil)
            let gate = store.faults.holdRequest(to: .release)
            let task = Task {
                try await locks.withLock("a") { held in kept.withLock { [validity = held.validity] in $0 = validity } }
            }
            try await gate.arrived()
            #expect(kept.withLock { $0 }?.isValid == false)
            gate.open()
            try await task.value
        }
    }
}
