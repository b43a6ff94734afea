import DistributedLocks

/// Who may be at which resource of this process, and who waits: the rule, and one at a time.
struct ProcessFencesStateMachine: Sendable {
    typealias ID = UInt64

    enum ArrivalAction: Hashable {
        case enter(FenceDecision)
        case wait
        case refuse(FenceRefusal)
        case tooManyResources
        case tooManyWaiters
    }

    /// What becomes of those who waited when somebody has left.
    struct LeaveAction: Hashable {
        var enter: Entering?
        var refuse: [Refusing] = []

        struct Entering: Hashable {
            var id: ID
            var decision: FenceDecision
        }

        struct Refusing: Hashable {
            var id: ID
            var refusal: FenceRefusal
        }
    }

    private struct Waiter: Sendable {
        var id: ID
        var stamp: FencingStamp
    }

    private struct Resource: Sendable {
        var rule = FenceRule()
        var isOccupied = false
        var waiters: [Waiter] = []
    }

    private var resources: [LockName: Resource] = [:]
    let maximumResources: Int
    let maximumWaitersPerResource: Int

    init(maximumResources: Int, maximumWaitersPerResource: Int) {
        self.maximumResources = maximumResources
        self.maximumWaitersPerResource = maximumWaitersPerResource
    }

    /// The highest token that a resource has seen.
    func highest(of name: LockName) -> FencingStamp? { self.resources[name]?.rule.highest }

    func numberOfWaiters(at name: LockName) -> Int { self.resources[name]?.waiters.count ?? 0 }

    /// Somebody wants to write. A token that is stale already does not wait.
    mutating func arrived(_ id: ID, at name: LockName, _ stamp: FencingStamp) -> ArrivalAction {
        guard var resource = self.resources[name] else {
            guard self.resources.count < self.maximumResources else { return .tooManyResources }
            var resource = Resource()
            resource.isOccupied = true
            let decision = resource.rule.presented(stamp)
            self.resources[name] = resource
            return .enter(decision)
        }
        if resource.isOccupied {
            var preview = resource.rule
            if let refusal = Self.refusal(preview.presented(stamp), stamp, name) { return .refuse(refusal) }
            guard resource.waiters.count < self.maximumWaitersPerResource else { return .tooManyWaiters }
            resource.waiters.append(Waiter(id: id, stamp: stamp))
            self.resources[name] = resource
            return .wait
        }
        let decision = resource.rule.presented(stamp)
        if let refusal = Self.refusal(decision, stamp, name) { return .refuse(refusal) }
        resource.isOccupied = true
        self.resources[name] = resource
        return .enter(decision)
    }

    /// Whoever was at the resource has left it: the first one whose token is still good enters.
    mutating func left(_ name: LockName) -> LeaveAction {
        guard var resource = self.resources[name], resource.isOccupied else {
            preconditionFailure("'\(name)' was left by somebody who was not there")
        }
        var action = LeaveAction()
        resource.isOccupied = false
        while !resource.isOccupied, !resource.waiters.isEmpty {
            let waiter = resource.waiters.removeFirst()
            let decision = resource.rule.presented(waiter.stamp)
            if let refusal = Self.refusal(decision, waiter.stamp, name) {
                action.refuse.append(LeaveAction.Refusing(id: waiter.id, refusal: refusal))
            } else {
                resource.isOccupied = true
                action.enter = LeaveAction.Entering(id: waiter.id, decision: decision)
            }
        }
        self.resources[name] = resource
        return action
    }

    /// Somebody does not want to wait any more. `false` if it does not wait.
    mutating func gaveUp(_ id: ID, at name: LockName) -> Bool {
        guard let index = self.resources[name]?.waiters.firstIndex(where: { $0.id == id }) else { return false }
        self.resources[name]?.waiters.remove(at: index)
        return true
    }

    /// An operator moves a resource to another token domain.
    mutating func adopted(_ name: LockName, _ stamp: FencingStamp) -> FenceDecision {
        var resource = self.resources[name] ?? Resource()
        let decision = resource.rule.adopt(stamp)
        self.resources[name] = resource
        return decision
    }

    private static func refusal(
        _ decision: FenceDecision,
        _ stamp: FencingStamp,
        _ name: LockName
    ) -> FenceRefusal? {
        switch decision {
        case .first, .same, .raised, .adopted: nil
        case .stale(let highest):
            FenceRefusal(resource: name, presented: stamp, highest: highest, reason: .stale)
        case .otherDomain(let highest):
            FenceRefusal(resource: name, presented: stamp, highest: highest, reason: .otherDomain)
        }
    }
}
