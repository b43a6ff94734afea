import Testing

@testable import DistributedLocks

@Suite struct LockErrorTests {
    private static let codes: [LockError.Code] = [
        .busy, .timedOut, .cancelled, .unreachable, .noQuorum, .lost, .outcomeUnknown, .notHeld, .wouldDeadlock,
        .policyMismatch, .invalidName, .invalidConfiguration, .clientNotRunning, .serverRefused,
    ]

    @Test func `codes have the names that are documented`() {
        #expect(
            Self.codes.map(\.rawValue) == [
                "busy", "timedOut", "cancelled", "unreachable", "noQuorum", "lost", "outcomeUnknown", "notHeld",
                "wouldDeadlock", "policyMismatch", "invalidName", "invalidConfiguration", "clientNotRunning",
                "serverRefused",
            ]
        )
    }

    @Test(arguments: codes)
    func `only what may pass by itself is retriable`(code: LockError.Code) {
        let retriable: Set<LockError.Code> = [.busy, .timedOut, .unreachable, .noQuorum, .outcomeUnknown]
        #expect(LockError(code, "").isRetriable == retriable.contains(code))
    }

    @Test func `the description names the code, the message and every node`() {
        let nodes = [
            LockError.NodeFailure(node: "r1:6379", message: "refused"),
            LockError.NodeFailure(node: "r2:6379", message: "timed out"),
        ]
        let error = LockError(.noQuorum, "1 of 3 answered", nodes: nodes)
        #expect("\(error)" == "noQuorum: 1 of 3 answered [r1:6379: refused; r2:6379: timed out]")
        #expect(error.location.hasPrefix("DistributedLocksTests/LockErrorTests.swift:"))
    }

    @Test func `a loss tells the reason, the token and what became of the body`() throws {
        struct BodyError: Error {}
        let token = try #require(FencingToken(rawValue: 7))
        let error = LockError.lost(.broken, name: try LockName("a"), token: token, body: .failed(BodyError()))
        #expect(error.code == .lost)
        #expect(error.lossReason == .broken)
        #expect(error.token == token)
        #expect(error.cause is BodyError)
        guard case .failed(let cause) = error.bodyOutcome, cause is BodyError else {
            Issue.record("no body outcome")
            return
        }
        #expect("\(error)" == "lost: lost the lock 'a' (token 7): it was broken by an operator")
    }
}
