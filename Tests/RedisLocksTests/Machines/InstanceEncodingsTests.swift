import DistributedLocks
import LockKernel
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// What the machine wants asked of an instance, as the words of a command.
@Suite struct InstanceEncodingsTests {
    private let metadata = OwnerMetadata(host: "here", pid: 7)
    private let owner: LockOwner.Secret
    private let other: LockOwner.Secret
    private let claim = RedlockMachine.ClaimID(attempt: AttemptID(rawValue: 1), beginning: 1, place: 0)

    init() {
        var generator = SeededGenerator(seed: 1)
        self.owner = LockOwner.Secret(using: &generator)
        self.other = self.owner.next(using: &generator)
    }

    /// The words behind the script's hash.
    private func words(_ request: RedlockMachine.Request) throws -> [String] {
        var encodings = InstanceEncodings(client: String(repeating: "c", count: 16))
        let command = encodings.command(request)
        guard request.endsWithNode else { return try #require(command.words) }
        var bytes = command.bytes
        bytes.writeRESPBulk("node")
        return try #require(RedisCommand(bytes: bytes).words)
    }

    private func proposal(told: LockOwner.Secret? = nil, skew: Int64 = 625_000) -> RedlockMachine.Request {
        .lock(
            RedlockMachine.Proposal(
                claim: self.claim, number: 1, key: "k", owner: self.owner, metadata: self.metadata, token: 77,
                skew: skew, leaseInMilliseconds: 30_000, told: told))
    }

    private func text(_ secret: LockOwner.Secret) throws -> String {
        let words = try self.words(
            .release(
                RedlockMachine.Release(what: .lock, key: "k", owner: secret, metadata: self.metadata, until: .now)))
        return try #require(words.last)
    }

    @Test func `a round says its owner, token and lease, and the skew where it is not the scripts' own`() throws {
        let owner = try self.text(self.owner)
        #expect(owner.hasSuffix(":7:here:"))
        let hash = RedisScript.instanceAcquire.hash
        #expect(
            try self.words(self.proposal()) == ["EVALSHA", hash, "1", "k", owner, "77", "30000", "node"])
        #expect(try self.words(self.proposal(skew: 5)).suffix(3) == ["30000", "5", "node"])
        // Who has the turn is told by the name of its claim.
        #expect(
            try self.words(self.proposal(told: self.other)).suffix(4)
                == ["30000", "625000", try self.text(self.other), "node"])
    }

    @Test func `the turn is an ordinary lock, with the scripts of one master`() throws {
        func turn(_ what: RedlockMachine.TurnRequest.What) throws -> [String] {
            try self.words(
                .turn(
                    RedlockMachine.TurnRequest(
                        what: what, claim: self.claim, key: "k\tturn", owner: self.owner, metadata: self.metadata,
                        lease: .seconds(1), registration: .seconds(6))))
        }
        let owner = try self.text(self.owner)
        #expect(
            try turn(.ask(maximumWaiters: 9)) == [
                "EVALSHA", RedisScript.acquire.hash, "1", "k\tturn", owner, "1000", "6000", "9",
            ])
        #expect(
            try turn(.keep) == ["EVALSHA", RedisScript.touch.hash, "1", "k\tturn", owner, "1000", "6000"])
    }

    @Test func `a node is asked for with what the policy says, and with what is to be changed`() throws {
        let policy = try #require(RedlockPolicy("5 5 3 60000 10000"))
        var node = RedlockMachine.NodeRequest(purpose: .look(1), mode: "check", policy: policy, runID: "abc")
        let words = [
            "EVALSHA", RedisScript.instanceNode.hash, "1", "dlock.node", "abc", "5 5 3 60000 10000",
            "\(policy.closedTime.wholeMilliseconds)", "625000", "check",
        ]
        #expect(try self.words(.node(node)) == words)
        node.change = RedlockMachine.NodeRequest.Change(
            expected: "before", floor: 9, delay: .seconds(3))
        #expect(try self.words(.node(node)) == words + ["before", "9", "3000"])
    }
}
