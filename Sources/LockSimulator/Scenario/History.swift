/// What must never be.
package enum Rule: String, CaseIterable, Sendable {
    /// Two bodies that were both valid, by the clocks, held one lock.
    case mutualExclusion = "M"
    /// A token was given twice, or a later grant has one that is not above.
    case tokensRise = "F1"
    /// An update overwrites one that it has not seen.
    case resourceIsSafe = "R"
    /// Somebody waits although nobody is in the way.
    case liveness = "L"
    /// Something is left that should be gone.
    case leftovers = "O"
}

package struct Violation: Sendable {
    package let rule: Rule
    package let text: String
}

/// What the clients of a run believed, and what the protected resource did. It is checked while it is written.
final class History {
    private struct Grant {
        let number: Int
        let worker: String
        let token: Int64
        let start: Int64
        let host: Host
        /// Whether it would be said to be valid now, by its own clock.
        let isValid: () -> Bool
    }

    /// A resource whose writers read first: an update that overwrites one it has not seen is a lost one.
    private struct Resource {
        var highest: Int64 = 0
        var value = 0
        var accepted = 0
    }

    private let world: World
    private let promises: Promises
    private var count = 0
    private var tokens: [String: Set<Int64>] = [:]
    /// Those whose bodies run, by lock.
    private var running: [String: [Int: Grant]] = [:]
    /// Until when, of all grants of a lock whose body has ended, one was valid.
    private var validUntil: [String: (until: Int64, grant: Grant)] = [:]
    private var lastToken: [String: Int64] = [:]
    private var resources: [String: Resource] = [:]
    private(set) var grants = 0
    private(set) var refusedWrites = 0
    private(set) var violations: [Violation] = []

    init(_ world: World, _ promises: Promises) {
        self.world = world
        self.promises = promises
    }

    func violated(_ rule: Rule, _ text: String) {
        self.world.note(self.world.controller, "VIOLATION of \(rule.rawValue): \(text)")
        self.violations.append(Violation(rule: rule, text: text))
    }

    // MARK: Bodies

    /// A body has begun. Returns its number.
    ///
    /// - Parameter isValid: whether it is valid at the time of the question, by its own clock, also if its process stands still.
    func began(
        _ lock: String, token: Int64, worker: String, on host: Host, isValid: @escaping () -> Bool
    ) -> Int {
        self.count += 1
        self.grants += 1
        let grant = Grant(
            number: self.count, worker: worker, token: token, start: self.world.time, host: host, isValid: isValid)
        self.world.note(host, "\(worker) holds \(lock) with token \(token)")
        if !self.tokens[lock, default: []].insert(token).inserted {
            self.violated(.tokensRise, "\(lock): \(token) was granted to \(worker), and to another one before")
        } else if self.promises == .exclusion, let last = self.lastToken[lock], token <= last {
            self.violated(.tokensRise, "\(lock): \(token) was granted to \(worker) after \(last)")
        }
        self.lastToken[lock] = max(token, self.lastToken[lock] ?? 0)
        if self.promises == .exclusion, let (until, other) = self.validUntil[lock], until > grant.start {
            self.violated(
                .mutualExclusion,
                "\(lock): \(worker) holds it with \(token) while \(other.worker) with \(other.token) was valid for \((until - grant.start) / 1_000) us more"
            )
        }
        let others = self.running[lock]?.values.sorted { $0.number < $1.number } ?? []
        for other in others where self.promises == .exclusion && other.isValid() {
            self.violated(
                .mutualExclusion,
                "\(lock): \(worker) begins with \(token) while \(other.worker) with \(other.token) is valid")
        }
        self.running[lock, default: [:]][grant.number] = grant
        return grant.number
    }

    /// A body looks at the clock: its grant is valid until then, in the world's time. Whoever began meanwhile may not have.
    func isValid(_ number: Int, of lock: String, until: Int64) {
        guard self.promises == .exclusion, let grant = self.running[lock]?[number], until > self.world.time else {
            return
        }
        for other in self.running[lock]?.values.sorted(by: { $0.number < $1.number }) ?? []
        where other.number > number && other.start < until && other.start >= grant.start
            && other.start < self.world.time
        {
            self.violated(
                .mutualExclusion,
                "\(lock): \(grant.worker) with \(grant.token) is valid although \(other.worker) has held it with \(other.token) for \((self.world.time - other.start) / 1_000) us"
            )
        }
    }

    /// Whether a body runs that holds it.
    func isHeld(_ lock: String) -> Bool { self.running[lock]?.isEmpty == false }

    func ended(_ number: Int, of lock: String, on host: Host, validUntil: Int64) {
        guard let grant = self.running[lock]?.removeValue(forKey: number) else { return }
        let until = min(self.world.time, validUntil)
        self.world.note(
            host,
            "\(grant.worker) ends with token \(grant.token)\(validUntil < self.world.time ? ", which was lost" : "")")
        if until > self.validUntil[lock]?.until ?? .min { self.validUntil[lock] = (until, grant) }
    }

    /// A process is gone, and with it the bodies that ran there.
    func died(_ host: Host) {
        for lock in self.running.keys.sorted() {
            let dead = self.running[lock]?.values.filter { $0.host === host } ?? []
            for grant in dead.sorted(by: { $0.number < $1.number }) {
                self.ended(grant.number, of: lock, on: host, validUntil: self.world.time)
            }
        }
    }

    // MARK: The resource

    /// - Returns: `nil`: refused, because somebody with a higher token was there.
    func read(_ lock: String, token: Int64) -> Int? {
        guard self.isAccepted(lock, token) else { return nil }
        return self.resources[lock]?.value
    }

    func write(_ lock: String, _ value: Int, token: Int64) {
        guard self.isAccepted(lock, token) else { return }
        self.resources[lock]?.accepted += 1
        self.resources[lock]?.value = value
        if let resource = self.resources[lock], resource.value != resource.accepted {
            self.violated(.resourceIsSafe, "\(lock): after \(resource.accepted) updates its value is \(resource.value)")
            self.resources[lock]?.value = resource.accepted
        }
    }

    private func isAccepted(_ lock: String, _ token: Int64) -> Bool {
        guard token >= self.resources[lock, default: Resource()].highest else {
            self.refusedWrites += 1
            return false
        }
        self.resources[lock, default: Resource()].highest = token
        return true
    }
}
