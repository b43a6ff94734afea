import TestKit
import Testing

/// All interleavings of small cases in which the policy of a Redlock is changed: see ``PolicyModel``.
@Suite(.timeLimit(.minutes(2))) struct RedlockPolicyModelTests {
    /// It takes seconds, which the pool's threads do not have.
    private static func explore(_ model: PolicyModel) async throws -> PolicyModel.Outcome {
        try await onThread { model.explore() }
    }

    @Test(arguments: [
        // One is added, one is removed, one that may be dead is removed from an even number.
        [0b00111, 0b01111], [0b01111, 0b00111], [0b00111, 0b00011], [0b00011, 0b00111],
    ])
    func `two generations in play: tokens are unique and rise, and one holds`(members: [UInt64]) async throws {
        let outcome = try await Self.explore(PolicyModel(members: members, tokens: 2))
        #expect(outcome.violation == nil)
        #expect(outcome.grants[1, default: 0] > 100 && outcome.grants[2, default: 0] > 100, "\(outcome)")
        #expect(outcome.renewals > 100 && outcome.worlds > 3_000, "\(outcome)")
    }

    @Test(arguments: [
        // One is replaced, in both orders.
        [0b00111, 0b01111, 0b01110], [0b00111, 0b00011, 0b01011],
    ])
    func `three generations in play, a step each`(members: [UInt64]) async throws {
        let outcome = try await Self.explore(PolicyModel(members: members))
        #expect(outcome.violation == nil)
        #expect((1...3).allSatisfy { outcome.grants[$0, default: 0] > 100 }, "\(outcome)")
        #expect(outcome.renewals > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test(arguments: [
        // From four: two are removed, one is removed and another one added. From three: two are removed, two are added, one of each; and
        // each of the three is removed.
        [0b01111, 0b01110, 0b00111], [0b01111, 0b01110, 0b11111], [0b00111, 0b00110, 0b00011],
        [0b00111, 0b01111, 0b10111], [0b00111, 0b00110, 0b01111], [0b00111, 0b00110, 0b00101, 0b00011],
    ])
    func `of changes of one generation, each begun again and again, one comes to a quorum at most`(
        members: [UInt64]
    ) async throws {
        let model = PolicyModel(members: members, rivals: members.count - 2, rounds: 0)
        let outcome = try await Self.explore(model)
        #expect(outcome.violation == nil)
        #expect(model.policies.allSatisfy { outcome.quorums[$0, default: 0] > 100 }, "\(outcome)")
        #expect(outcome.worlds > 5_000, "\(outcome)")
    }

    @Test func `clients do not hold at once while there are two changes of one generation`() async throws {
        let outcome = try await Self.explore(PolicyModel(members: [0b00111, 0b00110, 0b00011], rivals: 1, tokens: 1))
        #expect(outcome.violation == nil)
        #expect((1...3).allSatisfy { outcome.grants[$0, default: 0] > 100 }, "\(outcome)")
        #expect(outcome.renewals > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test(arguments: [
        // Two are added; two are removed; one is put in another's place.
        [0b00111, 0b11111], [0b11111, 0b00111], [0b00111, 0b01011],
    ])
    func `a step of two, and a swap, fail`(members: [UInt64]) async throws {
        #expect(try await Self.explore(PolicyModel(members: members)).violation != nil)
    }

    @Test(arguments: PolicyModel.Fault.allCases)
    func `each fault is caught`(fault: PolicyModel.Fault) async throws {
        var model: PolicyModel
        switch fault {
        case .orderNotShared, .goesOnAfterFailure, .tooFewReached, .broughtOnTooEarly:
            model = PolicyModel(members: [0b01111, 0b01110, 0b00111], rivals: 1, rounds: 0)
        case .removedRenews:
            model = PolicyModel(members: [0b01111, 0b01110])
        case .generationNotCompared, .renewalNotCompared, .stepTooEarly, .leasesNotWaitedFor, .noFloor, .mixedRound:
            model = PolicyModel(members: [0b00111, 0b00011, 0b01011])
        }
        model.fault = fault
        let outcome = try await Self.explore(model)
        #expect(outcome.violation != nil, "\(outcome)")
    }
}
