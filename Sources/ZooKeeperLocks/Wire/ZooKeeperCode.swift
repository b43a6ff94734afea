/// How a server judged a request: the numbers of `KeeperException.Code` of Apache ZooKeeper.
package struct ZooKeeperCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: Int32

    package init(rawValue: Int32) { self.rawValue = rawValue }

    package static let ok = Self(rawValue: 0)
    package static let runtimeInconsistency = Self(rawValue: -2)
    package static let connectionLoss = Self(rawValue: -4)
    package static let marshallingError = Self(rawValue: -5)
    package static let unimplemented = Self(rawValue: -6)
    package static let operationTimeout = Self(rawValue: -7)
    package static let badArguments = Self(rawValue: -8)
    package static let noNode = Self(rawValue: -101)
    package static let noAuth = Self(rawValue: -102)
    package static let badVersion = Self(rawValue: -103)
    package static let noChildrenForEphemerals = Self(rawValue: -108)
    package static let nodeExists = Self(rawValue: -110)
    package static let notEmpty = Self(rawValue: -111)
    package static let sessionExpired = Self(rawValue: -112)
    package static let invalidACL = Self(rawValue: -114)
    package static let authFailed = Self(rawValue: -115)
    package static let sessionMoved = Self(rawValue: -118)
    package static let notReadOnly = Self(rawValue: -119)
    package static let sessionClosedRequireAuth = Self(rawValue: -124)
    package static let quotaExceeded = Self(rawValue: -125)
    package static let throttled = Self(rawValue: -127)

    package var description: String {
        switch self {
        case .ok: "OK"
        case .runtimeInconsistency: "RuntimeInconsistency"
        case .connectionLoss: "ConnectionLoss"
        case .marshallingError: "MarshallingError"
        case .unimplemented: "Unimplemented"
        case .operationTimeout: "OperationTimeout"
        case .badArguments: "BadArguments"
        case .noNode: "NoNode"
        case .noAuth: "NoAuth"
        case .badVersion: "BadVersion"
        case .noChildrenForEphemerals: "NoChildrenForEphemerals"
        case .nodeExists: "NodeExists"
        case .notEmpty: "NotEmpty"
        case .sessionExpired: "SessionExpired"
        case .invalidACL: "InvalidACL"
        case .authFailed: "AuthFailed"
        case .sessionMoved: "SessionMoved"
        case .notReadOnly: "NotReadOnly"
        case .sessionClosedRequireAuth: "SessionClosedRequireSaslAuth"
        case .quotaExceeded: "QuotaExceeded"
        case .throttled: "ThrottledOp"
        default: "error \(self.rawValue)"
        }
    }
}
