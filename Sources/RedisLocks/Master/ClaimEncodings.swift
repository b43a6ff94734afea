import DistributedLocks

/// What a client says of its claims, as arguments of scripts: encoded once for as long as it is the same.
struct ClaimEncodings: Sendable {
    /// What stands behind the secrets of this client's owners.
    private var suffixes: EncodedMetadata
    private var lastTimes: (lease: Duration, maximumWaiters: Int?, arguments: ScriptArgument)?

    init(client: String) {
        self.suffixes = EncodedMetadata { OwnerText.suffix(client: client, metadata: $0) }
    }

    mutating func owner(of claim: LockClaim) -> ScriptArgument {
        .owner(claim.owner.secret, suffix: self.suffixes.bytes(of: claim.owner.metadata))
    }

    /// What an acquire says after the owner; most leases are those of the call before.
    ///
    /// - Parameter maximumWaiters: `nil` if it does not join the queue.
    mutating func times(lease: Duration, _ maximumWaiters: Int?) -> ScriptArgument {
        if let last = self.lastTimes, last.lease == lease, last.maximumWaiters == maximumWaiters {
            return last.arguments
        }
        var arguments: [ScriptArgument] = [.number(lease.wholeMilliseconds)]
        if let maximumWaiters {
            arguments.append(.number(WaitingStateMachine.registration(lease: lease).wholeMilliseconds))
            arguments.append(.number(Int64(maximumWaiters)))
        }
        let encoded = ScriptArgument.encoded(arguments)
        self.lastTimes = (lease, maximumWaiters, encoded)
        return encoded
    }
}
