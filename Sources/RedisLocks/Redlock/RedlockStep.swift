import DistributedLocks
import LockKernel

/// One change of the policy of a Redlock, as `dlock init --from` makes it: a member is added or removed, or the longest lease or
/// the clock skew is changed. What is written where, or why nothing may be changed now.
///
/// The next generation is refused until a quorum of the present members has the present one, and has had it for as long as a
/// lease lasts: then there is no quorum of an earlier one any more, and nobody holds by one. With that, tokens of the new
/// generation begin above all tokens that earlier generations than the present one have granted: an instance that grants one
/// has it at most so far ahead of its clock as clocks may differ, and its clock has passed that.
///
/// Two changes of one generation could be begun at once, by two people. From an even number of members each could have a quorum that
/// shares no instance with the other's: {A, B} and {C, D}, where one removes D and the other A. So all write in one order, also to the
/// member that is removed, each a quorum of the present members at least, and stop where a write fails. Then the last member in that
/// order has only what a quorum of the present members has got before, and the other change is left with too few.
struct RedlockStep: Equatable, Sendable {
    /// The instances of both lists, in the order of the configuration that names them all.
    enum Role: Equatable, Sendable {
        case stays, added, removed
    }

    /// What one instance said.
    struct Sighting: Equatable, Sendable {
        var name: String
        var role: Role
        /// `nil`: it cannot be used, for this reason.
        var found: InstanceNodeReply?
        var reason = ""
    }

    /// What an instance is told.
    struct Write: Equatable, Sendable {
        enum Mode: String, Sendable {
            case step, join, remove
        }

        var instance: Int
        var mode: Mode
        /// What it has; empty: no policy.
        var expected: String
    }

    /// What the instances get.
    var policy: RedlockPolicy
    /// Where the new generation's tokens begin.
    var floor: Int64
    /// A new member comes first. Then the present members in the order of their names, which all who change the set share; last those
    /// that another change has got, which cannot come to a quorum any more.
    var writes: [Write]

    /// What the two configurations differ in.
    ///
    /// - Returns: what each server of both is, by its address.
    /// - Throws: `LockError` `invalidConfiguration` if it is not one step.
    static func roles(
        from old: RedlockConfiguration, to new: RedlockConfiguration
    ) throws(LockError) -> [(address: RedisLockConfiguration.Address, role: Role)] {
        try old.check()
        try new.check()
        guard old.setName == new.setName, old.database == new.database else {
            throw LockError(
                .invalidConfiguration, "the name of the set and the number of the database stay as they are")
        }
        let before = Set(old.servers.map(RedlockConfiguration.text))
        let after = Set(new.servers.map(RedlockConfiguration.text))
        let changed = before.symmetricDifference(after)
        guard changed.count <= 1 else {
            throw LockError(
                .invalidConfiguration,
                "members are added or removed one at a time, and these differ in \(changed.sorted().joined(separator: ", ")): "
                    + "with two at once, two quorums need not meet")
        }
        let isOtherwiseChanged =
            old.longestLease != new.longestLease || old.maximumClockSkew != new.maximumClockSkew
        guard changed.isEmpty == isOtherwiseChanged else {
            throw LockError(
                .invalidConfiguration,
                changed.isEmpty
                    ? "nothing is to be changed: the lists, the longest lease and the clock skew are the same"
                    : "the members are changed in one step, and the longest lease or the clock skew in another")
        }
        return new.servers.map { ($0, before.contains(RedlockConfiguration.text($0)) ? .stays : .added) }
            + old.servers.filter { !after.contains(RedlockConfiguration.text($0)) }.map { ($0, .removed) }
    }

    /// - Parameters:
    ///   - old: what the set is now.
    ///   - new: what it is to be.
    ///   - sightings: what the instances of both say.
    /// - Throws: `LockError`: `policyMismatch` if the set is not what it is said to be; `noQuorum` or `invalidConfiguration` if it
    ///   cannot be changed now. Nothing is to be changed then.
    init(from old: RedlockConfiguration, to new: RedlockConfiguration, _ sightings: [Sighting]) throws(LockError) {
        if let done = Self.decided(from: old, to: new, sightings) {
            self.policy = done
            self.floor = Self.floor(of: done, sightings)
            self.writes = try RedlockStepPlan(done, nil, sightings).writes
            return
        }
        let present = try Self.present(old, sightings)
        let next = present.next(
            list: new.listHash,
            present: old.listHash,
            count: new.servers.count,
            leaseInMilliseconds: new.longestLease.wholeMilliseconds,
            skewInMilliseconds: new.maximumClockSkew.wholeMilliseconds
        )
        self.policy = next
        let plan = try RedlockStepPlan(next, present, sightings)
        self.writes = plan.writes
        try plan.check(present)
        if plan.isUnderWay {
            // It was begun by an earlier call, which has found out where tokens begin; they begin there for all.
            self.floor = Self.floor(of: next, sightings)
        } else {
            self.floor = try Self.firstFloor(after: present, sightings.filter { $0.role != .added })
            try Self.check(self.floor, next, sightings)
        }
    }

    /// For so much longer than its settling time one that is written to has to have the policy: what it had before lasts longer.
    func delay(of write: Write) -> Duration { RedlockPolicy(write.expected)?.delay(of: self.policy) ?? .zero }

    /// Whether the next write follows: not if one has failed, for whatever reason. Another change may have been there first.
    func goesOn(after results: [Int: String?]) -> Bool { results.values.allSatisfy { $0 == nil } }

    /// What came of it: which instances do not have the policy, and why.
    ///
    /// - Parameter results: of the writes, by the index of the instance; `nil`: it has the policy.
    /// - Throws: `LockError` `noQuorum` if it has to be done again.
    func lacking(_ sightings: [Sighting], _ results: [Int: String?]) throws(LockError) -> [LockError.NodeFailure] {
        var lacking: [LockError.NodeFailure] = []
        var having = 0
        var isBegun = false
        for (index, sighting) in sightings.enumerated() {
            let has: Bool
            let reason: String
            if let result = results[index] {
                has = result == nil
                reason = result ?? ""
            } else if let found = sighting.found {
                has = found.policy == self.policy.text
                reason =
                    found.policy.isEmpty
                    ? "it has lost its policy, and a client gives it one" : "it has another policy: do the same again"
            } else {
                has = false
                reason = sighting.reason
            }
            if has { isBegun = true } else { lacking.append(.init(node: sighting.name, message: reason)) }
            if has, sighting.role != .removed { having += 1 }
        }
        guard having >= self.policy.quorum else {
            throw LockError(
                .noQuorum,
                isBegun
                    ? "the change was begun, and fewer than \(self.policy.quorum) members have it: do the same again"
                    : "nothing was changed, for all that is known: do the same again",
                nodes: lacking)
        }
        return lacking
    }

    /// A clock that is wild must not make the others wait for it.
    private static func check(_ floor: Int64, _ next: RedlockPolicy, _ sightings: [Sighting]) throws(LockError) {
        let times = sightings.filter { $0.role != .removed }.compactMap { $0.found?.time }
        guard times.count(where: { $0 + next.skew.ticks / 2 > floor }) >= next.quorum else {
            throw LockError(
                .noQuorum,
                "nothing was changed: the clock of a member is so far ahead that the others would grant nothing until then"
            )
        }
    }

    /// What they are to have, if it has come to a quorum already, or no other change can, and nobody has gone on from there.
    private static func decided(
        from old: RedlockConfiguration, to new: RedlockConfiguration, _ sightings: [Sighting]
    ) -> RedlockPolicy? {
        var members: [RedlockPolicy: Int] = [:]
        /// Of the members before, also the one that was removed: a quorum of those is the most that can be.
        var written: [RedlockPolicy: Int] = [:]
        var latest = 0
        for sighting in sightings {
            guard let found = sighting.found, let policy = RedlockPolicy(found.policy) else { continue }
            latest = max(latest, policy.generation)
            if sighting.role != .removed, !found.isRemoved { members[policy, default: 0] += 1 }
            if sighting.role != .added, sighting.role == .removed || !found.isRemoved {
                written[policy, default: 0] += 1
            }
        }
        let quorum = RedlockPolicy.quorum(of: old.servers.count)
        return Set(members.keys).union(written.keys).first { policy in
            let isDecided =
                members[policy, default: 0] >= policy.quorum
                || written[policy, default: 0] >= quorum && policy.lists.contains(old.listHash)
            return isDecided && policy.generation > 1 && policy.generation == latest
                && policy.lists.first == new.listHash && policy.count == new.servers.count
                && policy.leaseInMilliseconds == new.longestLease.wholeMilliseconds
                && policy.skewInMilliseconds == new.maximumClockSkew.wholeMilliseconds
        }
    }

    /// The policy of the set, as most of its members have it.
    private static func present(_ old: RedlockConfiguration, _ sightings: [Sighting]) throws(LockError) -> RedlockPolicy
    {
        let policies = old.policies
        var count: [RedlockPolicy: Int] = [:]
        var refusal: RedlockInstanceStateMachine.Refusal?
        var later: RedlockPolicy?
        for sighting in sightings where sighting.role != .added {
            guard let found = sighting.found, !found.policy.isEmpty else { continue }
            switch policies.judge(found.policy) {
            case .refused(let other): refusal = other
            case .ofThisSet(let policy):
                // One that has gone on already: what it was before follows from the others.
                guard !found.isRemoved,
                    policy.generation == 1 || policy.lists.first == old.listHash || old.setName != nil
                else {
                    if policy.generation > later?.generation ?? 0 { later = policy }
                    continue
                }
                count[policy, default: 0] += 1
            }
        }
        let isOurs = { (policy: RedlockPolicy) in
            policy.count == old.servers.count && policy.leaseInMilliseconds == old.longestLease.wholeMilliseconds
                && policy.skewInMilliseconds == old.maximumClockSkew.wholeMilliseconds
        }
        let ours = count.filter { isOurs($0.key) }
        guard let present = ours.max(by: { ($0.key.generation, $0.value) < ($1.key.generation, $1.value) })?.key else {
            let reasons = sightings.compactMap { $0.found == nil ? "\($0.name): \($0.reason)" : nil }
            guard refusal != nil || later != nil || !count.isEmpty || reasons.isEmpty else {
                throw LockError(.noQuorum, "no member can be reached: " + reasons.joined(separator: "; "))
            }
            throw LockError(
                .policyMismatch,
                "this is not what the set is now: "
                    + (refusal?.reason ?? count.keys.first.map { "its policy is \($0.text)" }
                        ?? later.map {
                            "it was changed since, is of generation \($0.generation) and has \($0.count) members"
                        } ?? "no member has a policy"))
        }
        return present
    }

    /// Where the tokens begin of a generation that some have.
    private static func floor(of policy: RedlockPolicy, _ sightings: [Sighting]) -> Int64 {
        sightings.compactMap { $0.found?.policy == policy.text ? $0.found?.floor : nil }.min() ?? 0
    }

    /// Checks that the present generation is settled. Returns where tokens of the next one begin.
    private static func firstFloor(
        after present: RedlockPolicy, _ members: [Sighting]
    ) throws(LockError) -> Int64 {
        var times: [Int64] = []
        var lacking: [LockError.NodeFailure] = []
        for member in members {
            guard let found = member.found, found.policy == present.text, !found.isRemoved else {
                lacking.append(
                    .init(node: member.name, message: member.found == nil ? member.reason : "it has not that policy"))
                continue
            }
            if let duration = found.hasHadPolicyFor, duration < present.settlingTime {
                let wait = present.settlingTime - duration
                lacking.append(
                    .init(node: member.name, message: "it has had it for too short a time: wait \(wait.brief)"))
                continue
            }
            times.append(found.time)
        }
        guard times.count >= present.quorum else {
            throw LockError(
                .noQuorum,
                "nothing was changed: \(present.quorum) of the \(present.count) members must have had the policy of generation "
                    + "\(present.generation) for \(present.settlingTime.brief)",
                nodes: lacking)
        }
        // Of each quorum of the generation before at least one is not above this one's clock. The others may be wild.
        return present.generation == 1 ? 0 : times.sorted(by: >)[times.count - present.quorum]
    }
}
