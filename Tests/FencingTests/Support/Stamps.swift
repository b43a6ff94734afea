import DistributedLocks
import Fencing
import Foundation
import TestKit

/// A stamp of a number.
func stamp(_ number: Int64, _ domain: String = "clock") -> FencingStamp {
    guard let token = FencingToken(rawValue: number) else { preconditionFailure("\(number) is no token") }
    return FencingStamp(token, domain: TokenDomain(rawValue: domain))
}

func name(_ text: String) -> LockName {
    guard let name = try? LockName(text) else { preconditionFailure("'\(text)' is no name") }
    return name
}

/// What is done to a resource: a token is presented or adopted.
struct Step: Hashable, Sendable, CustomStringConvertible {
    var stamp: FencingStamp
    var isAdoption = false

    func apply(to rule: inout FenceRule) -> FenceDecision {
        self.isAdoption ? rule.adopt(self.stamp) : rule.presented(self.stamp)
    }

    var description: String { "\(self.isAdoption ? "adopt" : "present") \(self.stamp)" }

    /// Random steps, the same for the same seed. The numbers are where Lua's, JavaScript's and SQL's numbers end.
    static func random(_ count: Int, seed: UInt64) -> [Step] {
        var generator = SeededGenerator(seed: seed)
        let bases: [Int64] = [1, 9, 10, 99, 1 << 31, 1 << 47, 1 << 53, (1 << 53) + 1, 1 << 62, .max - 2]
        var base = bases[0]
        return (0..<count).map { _ in
            if Int.random(in: 0..<6, using: &generator) == 0 { base = bases.randomElement(using: &generator) ?? 1 }
            let number = base + Int64.random(in: 0...2, using: &generator)
            let domain = ["clock", "zxid:a b", "zxid:ü"][
                Int.random(in: 0..<8, using: &generator) / 6 * Int.random(in: 1...2, using: &generator)]
            return Step(
                stamp: FencingTests.stamp(number, domain), isAdoption: Int.random(in: 0..<10, using: &generator) == 0)
        }
    }
}

/// What a resource did: its decision, or the refusal that it threw.
func decision(_ body: () async throws -> FenceDecision) async throws -> FenceDecision {
    do {
        return try await body()
    } catch let refusal as FenceRefusal {
        switch refusal.reason {
        case .stale: return .stale(highest: refusal.highest)
        case .otherDomain: return .otherDomain(highest: refusal.highest)
        }
    }
}

/// What a body throws; `nil` if nothing.
func thrown(_ body: () throws -> Void) -> (any Error)? {
    do {
        try body()
        return nil
    } catch {
        return error
    }
}
