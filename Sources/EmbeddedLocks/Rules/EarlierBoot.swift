#if Embedded
import DistributedLocks

/// Decides what a client does with a file whose boot is not the one that it sees.
///
/// After a reboot nobody lives of those that the file names, and all of it is void. But two clients on one kernel may see
/// different boots, if one of them is kept from seeing the kernel's own: then those whom the file names go on. They are
/// told apart by their sockets. Whose socket is dead, is dead. Whose socket answers proves that there was no reboot. One
/// whose socket is missing or out of reach proves nothing: if it holds a lock, that is watched for one of its leases, and
/// void if it was not renewed in that time.
struct EarlierBoot: Sendable {
    enum Sight: Sendable {
        case alive
        case dead
        case unknown
    }

    /// A holder or a waiter that the file names.
    struct Claim: Sendable {
        let name: String
        let owner: OwnerMetadata
        let sight: Sight
        /// `nil` for a waiter.
        let hold: Hold?
    }

    struct Hold: Sendable {
        let lease: Duration
        let token: Int64
        let leaseEnd: BootTime
    }

    /// Since when, and in what state, those were watched that nothing could be told of. It stands in the file, because a
    /// client may live for less than a lease.
    struct Watch: Equatable, Sendable {
        let bootID: String
        let since: BootTime
        /// Changes with every renewal and grant.
        let state: Int64

        init(bootID: String, since: BootTime, state: Int64) {
            self.bootID = bootID
            self.since = since
            self.state = state
        }

        init?(text: String) {
            let words = text.split(separator: " ")
            guard words.count == 3, let since = Int64(words[1]), let state = Int64(words[2]) else { return nil }
            self.init(bootID: String(words[0]), since: BootTime(nanoseconds: since), state: state)
        }

        var text: String { "\(self.bootID) \(self.since.nanoseconds) \(self.state)" }
    }

    enum Verdict: Sendable {
        /// Nobody lives: what the file says is void.
        case void
        /// Somebody lives who sees another boot.
        case refuse(Claim, restart: Watch?)
        /// Nothing can be told yet.
        case wait(Claim, Watch, left: Duration)
    }

    /// No lease is longer, whatever stands in the file.
    private static let longestLease: Duration = .seconds(86_400)

    static func verdict(on claims: [Claim], watch: Watch?, bootID: String, now: BootTime) -> Verdict {
        let living = claims.filter { $0.sight == .alive }
        if let one = living.first(where: { $0.hold != nil }) ?? living.first { return .refuse(one, restart: nil) }
        var state: Int64 = 0
        var longest: (claim: Claim, lease: Duration)?
        for claim in claims where claim.sight == .unknown {
            guard let hold = claim.hold else { continue }
            state = state &+ hold.leaseEnd.nanoseconds &+ hold.token
            let lease = min(hold.lease, Self.longestLease)
            if lease > longest?.lease ?? .zero { longest = (claim, lease) }
        }
        guard let longest else { return .void }
        guard let watch, watch.bootID == bootID, watch.since <= now else {
            return .wait(
                longest.claim, Watch(bootID: bootID, since: now, state: state), left: longest.lease)
        }
        guard watch.state == state else {
            return .refuse(longest.claim, restart: Watch(bootID: bootID, since: now, state: state))
        }
        let left = watch.since + longest.lease - now
        return left > .zero ? .wait(longest.claim, watch, left: left) : .void
    }

    /// - Parameter claim: Who lives.
    static func refusal(_ claim: Claim, path: String) -> LockError {
        LockError(
            .invalidConfiguration,
            "this process sees another boot id than \(Self.who(claim)): let all that use \(path) see the same /proc/sys/kernel/random/boot_id",
            holder: claim.hold == nil ? nil : claim.owner
        )
    }

    static func delay(_ claim: Claim, left: Duration, path: String) -> LockError {
        let seconds = max(1, left.components.seconds + 1)
        return LockError(
            .unreachable,
            "\(path) is of another boot, and it cannot be told whether there still is \(Self.who(claim)); if that is not renewed within \(seconds) s it is void",
            holder: claim.owner
        )
    }

    private static func who(_ claim: Claim) -> String {
        let does = claim.hold == nil ? "waits for" : "holds"
        return "pid \(claim.owner.pid) on \(claim.owner.host), which \(does) '\(claim.name)'"
    }
}
#endif
