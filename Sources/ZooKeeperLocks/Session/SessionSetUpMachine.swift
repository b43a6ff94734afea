/// What must be done in a new session before it can be used.
///
/// States: *idle*, *reading* the node that names the ensemble's history, *making* it (its parents first), *making the session's
/// node* (its parent first), *done*. It begins anew whenever the session is attached and not done; what has no answer because
/// its connection ended is asked again then. Pure.
struct SessionSetUpMachine {
    private enum State: Equatable {
        case idle
        case reading(mayMake: Bool)
        case makingParents
        case making
        case makingSessionNode
        case makingSessionParents
        case done
    }

    enum Action: Equatable {
        case none
        case readEnsemble
        case makeChroot
        case makeEnsemble
        case makeSessionNode
        case makeSessionParents
        /// The session can be used.
        case open
        case refuse(Refusal)
    }

    enum Refusal: Equatable {
        /// What stands where the ensemble's name should be is not ours.
        case strangeEnsemble
        case server(ServerRefusal)
    }

    struct ServerRefusal: Equatable {
        let code: ZooKeeperCode
        /// What was asked, and how it was answered.
        let reason: String
    }

    private var state = State.idle
    /// The name of the ensemble's history, by which tokens can be compared; `nil` until it was read.
    private(set) var ensemble: String?

    var isDone: Bool { self.state == .done }

    mutating func attached(isNew: Bool) -> Action {
        if isNew { self.state = .idle }
        if self.state == .done { return .open }
        self.state = .reading(mayMake: true)
        return .readEnsemble
    }

    /// - Parameter refusal: why not; `nil`: it is there, with `bytes`.
    mutating func ensembleRead(_ bytes: [UInt8], refusal: ServerRefusal?) -> Action {
        guard case .reading(let mayMake) = self.state else { return .none }
        switch refusal?.code {
        case nil:
            guard Self.isName(bytes) else { return .refuse(.strangeEnsemble) }
            self.ensemble = String(decoding: bytes, as: UTF8.self)
            self.state = .makingSessionNode
            return .makeSessionNode
        case .noNode where mayMake:
            self.state = .makingParents
            return .makeChroot
        case .some:
            return self.refused(refusal)
        }
    }

    private func refused(_ refusal: ServerRefusal?) -> Action {
        refusal.map { .refuse(.server($0)) } ?? .none
    }

    private static func isName(_ bytes: [UInt8]) -> Bool {
        bytes.count == 32
            && bytes.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
            }
    }

    /// - Parameter refusal: why they could not be made.
    mutating func parentsMade(refusal: ServerRefusal?) -> Action {
        switch self.state {
        case .makingParents:
            if refusal != nil { return self.refused(refusal) }
            self.state = .making
            return .makeEnsemble
        case .makingSessionParents:
            if refusal != nil { return self.refused(refusal) }
            self.state = .makingSessionNode
            return .makeSessionNode
        case .idle, .reading, .making, .makingSessionNode, .done:
            return .none
        }
    }

    mutating func ensembleMade(refusal: ServerRefusal?) -> Action {
        guard self.state == .making else { return .none }
        switch refusal?.code {
        case nil, .nodeExists:
            // Another client may have been first: what counts is what stands there.
            self.state = .reading(mayMake: false)
            return .readEnsemble
        case .some:
            return self.refused(refusal)
        }
    }

    mutating func sessionNodeMade(refusal: ServerRefusal?) -> Action {
        guard self.state == .makingSessionNode else { return .none }
        switch refusal?.code {
        case nil, .nodeExists:
            self.state = .done
            return .open
        case .noNode:
            self.state = .makingSessionParents
            return .makeSessionParents
        case .some:
            return self.refused(refusal)
        }
    }
}
