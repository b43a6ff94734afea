import DistributedLocks
import LockURLs
import TestKit
import Testing

/// The backend itself, asked in ways in which a `LockClient` does not ask.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedlockAttemptReuseTests {
    private struct NoSink: LockEventSink {
        func receive(_ event: LockEvent) {}
    }

    @Test func `an attempt that is asked anew after a release that nobody confirmed is another claim`() async throws {
        try await withProxiedRedlock(3) { _, proxies, url in
            let backend = try LockBackends.backend(url: url)
            backend.start(delivering: NoSink())
            let running = Task { try await backend.run() }
            var generator = SystemRandomNumberGenerator()
            let claim = LockClaim(
                attempt: AttemptID(rawValue: 1),
                name: try LockName("a"),
                owner: LockOwner(
                    secret: LockOwner.Secret(using: &generator), metadata: OwnerMetadata(host: "h", pid: 1)
                ),
                lease: .seconds(6)
            )
            func acquire() async throws -> FencingToken {
                let deadline = ContinuousClock.now + .seconds(10)
                while true {
                    let reply = try await backend.request(
                        AcquireRequest(claim: claim, joinsQueue: false, deadline: deadline)
                    )
                    if case .granted(let grant) = reply { return grant.token }
                    try #require(ContinuousClock.now < deadline, "\(reply)")
                }
            }
            let first = try await acquire()
            for proxy in proxies.prefix(2) {
                proxy.setRefusing(true)
                proxy.cutAll()
            }
            await #expect(throws: LockError.self) { try await backend.release(claim) }
            // Until this nobody has forgotten the first claim.
            let forgotten = ContinuousClock.now + claim.lease * 2
            for proxy in proxies.prefix(2) { proxy.setRefusing(false) }
            let second = try await acquire()
            try #require(ContinuousClock.now < forgotten, "too slow to show anything")
            #expect(second > first)
            var renewed = ContinuousClock.now
            while ContinuousClock.now < forgotten + .milliseconds(500) {
                renewed = ContinuousClock.now
                let replies = await backend.renew([
                    LockRenewal(claim: claim, deadline: .now + .seconds(1))
                ])
                guard case .extended = try #require(replies.first) else {
                    Issue.record("\(replies)")
                    break
                }
                try await Task.sleep(for: .milliseconds(100))
            }
            let reply = try await backend.release(claim)
            // Its lease may have run out on a machine that did nothing else for so long.
            try #require(ContinuousClock.now < renewed + claim.lease, "too slow to show anything")
            guard case .released = reply else {
                Issue.record("it was not held any more, \(ContinuousClock.now - renewed) after its last renewal")
                return
            }
            running.cancel()
            _ = await running.result
        }
    }
}
