import DistributedLocks

/// Who is to be written to by a ``RedlockStep``, and in which order; and whether they are enough.
struct RedlockStepPlan {
    typealias Sighting = RedlockStep.Sighting
    typealias Write = RedlockStep.Write

    private(set) var writes: [Write] = []
    /// An earlier call has begun with it.
    private(set) var isUnderWay: Bool
    private let next: RedlockPolicy
    private let sightings: [Sighting]
    /// How many of the present members have the present policy or the next one, and can be reached.
    private var reached = 0
    /// How many of those that stay have or get the next policy, and are open.
    private var open = 0
    /// What another change from the same generation has got.
    private var rival: (name: String, policy: RedlockPolicy)?

    /// - Parameter present: `nil`: the next one has come to a quorum already, or no other one can.
    /// - Throws: `LockError` if one of them cannot be what it is to be. Nothing is to be changed then.
    init(_ next: RedlockPolicy, _ present: RedlockPolicy?, _ sightings: [Sighting]) throws(LockError) {
        self.next = next
        self.sightings = sightings
        self.isUnderWay = sightings.contains { $0.found?.policy == next.text }
        let present = present?.text
        var joins: [Write] = []
        var others: [Write] = []
        for (index, sighting) in sightings.enumerated().sorted(by: { $0.element.name < $1.element.name }) {
            guard let found = sighting.found else {
                guard sighting.role == .added, present != nil, !self.isUnderWay else { continue }
                throw LockError(
                    .unreachable,
                    "nothing was changed: \(sighting.name), which is to be added, cannot be used: \(sighting.reason)"
                )
            }
            let policy = RedlockPolicy(found.policy)
            if let policy, policy.set == next.set, policy.generation > next.generation {
                throw self.changedOtherwise(sighting.name, policy)
            }
            switch sighting.role {
            case .added:
                try Self.checkAdded(sighting, policy, next, present: present)
                if policy == next { continue }
                // It may have been opened already, and have forgotten that: then it is given its policy as one that has.
                guard !self.isUnderWay || !found.policy.isEmpty else { continue }
                joins.append(Write(instance: index, mode: .join, expected: found.policy))
            case .stays, .removed:
                guard let policy, policy.set == next.set else { continue }
                let write = Write(
                    instance: index, mode: sighting.role == .removed ? .remove : .step, expected: found.policy)
                if policy.generation == next.generation, policy != next {
                    self.rival = (sighting.name, policy)
                    others.append(write)
                    continue
                }
                if policy != next {
                    guard !found.isRemoved else {
                        if present == nil { continue }
                        throw Self.isNoMember(sighting.name)
                    }
                    self.writes.append(write)
                }
                if policy == next || found.policy == present { self.reached += 1 }
                guard sighting.role == .stays else { continue }
                if found.opensIn == .zero { self.open += 1 }
            }
        }
        // When a quorum of the present members has got it, the other change has too few for good. It may have got one that is needed.
        self.writes = joins + self.writes + others
    }

    private static func checkAdded(
        _ sighting: Sighting, _ policy: RedlockPolicy?, _ next: RedlockPolicy, present: String?
    ) throws(LockError) {
        guard let found = sighting.found, !found.policy.isEmpty else { return }
        let reason: String
        if policy?.set != next.set {
            reason = "belongs to another set"
        } else if policy != next, policy?.generation == next.generation {
            reason = "is added by another change, which was begun"
        } else if !found.isRemoved, found.policy == present {
            reason = "is a member already, by another address"
        } else {
            // One that was a member once, and knows it, is as good as a new one.
            return
        }
        throw LockError(
            .policyMismatch, "nothing was changed: \(sighting.name), which is to be added, \(reason)")
    }

    private static func isNoMember(_ name: String) -> LockError {
        LockError(
            .policyMismatch,
            "nothing was changed: \(name) was removed from its set, so this is not what the set is now")
    }

    private func changedOtherwise(_ name: String, _ policy: RedlockPolicy) -> LockError {
        LockError(
            .policyMismatch,
            "nothing was changed: the set was changed otherwise, or somebody has begun to: \(name) is of generation "
                + "\(policy.generation), with \(policy.count) members")
    }

    /// Whether so many are written to that no other change of the present generation can come to a quorum besides, and locks can be
    /// had before and after.
    ///
    /// - Throws: `LockError`: nothing is to be changed.
    func check(_ present: RedlockPolicy) throws(LockError) {
        // Who has begun may go on: of those who have, the one that came furthest can.
        if let rival, !self.isUnderWay || self.reached < present.quorum {
            throw self.changedOtherwise(rival.name, rival.policy)
        }
        let away = self.sightings.compactMap { sighting in
            sighting.found == nil ? LockError.NodeFailure(node: sighting.name, message: sighting.reason) : nil
        }
        guard self.reached >= present.quorum else {
            throw LockError(
                .noQuorum,
                "nothing was changed: of the \(present.count) members \(present.quorum) must be reached that have the policy of "
                    + "generation \(present.generation) or the next one, and \(self.reached) are",
                nodes: away)
        }
        // Clients with the list from before know only those that stay.
        guard self.isUnderWay || self.open >= self.next.quorum else {
            throw LockError(
                .noQuorum,
                "nothing was changed: \(self.next.quorum) of the members that stay must be open, and \(self.open) are; "
                    + "remove one that has died before another one is added",
                nodes: away)
        }
    }
}
