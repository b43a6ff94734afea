import DistributedLocks
import Foundation
import LockKernel

/// The output of `dlock status`, for people and for scripts.
enum StatusReport {
    static func text(_ locks: [LockStatus]) -> String {
        if locks.isEmpty { return "no lock is held or waited for" }
        return locks.map { Self.text($0) }.joined(separator: "\n")
    }

    private static func text(_ lock: LockStatus) -> String {
        var obstacles = lock.obstacles
        var state: String
        if lock.holder?.metadata == nil, let index = obstacles.firstIndex(where: \.hidesHolder) {
            let obstacle = obstacles.remove(at: index)
            state = "\(obstacle.reason) (\(obstacle.place))"
        } else if let holder = lock.holder {
            state = "held by \(holder.metadata?.description ?? "another program")"
            if let token = holder.token { state += ", token \(token)" }
            if let heldFor = holder.heldFor { state += ", for \(heldFor.brief)" }
            if let remaining = holder.remainingLease { state += ", lease ends in \(remaining.brief) unless renewed" }
            if holder.isBroken { state += ", told to let go" }
        } else {
            state = "free" + (lock.lastToken.map { " (last token \($0))" } ?? "")
        }
        var details = obstacles.map { "\($0.reason) (\($0.place))" }
        for (index, waiter) in lock.waiters.enumerated() {
            var line = "\(index + 1). waiting: \(waiter.metadata?.description ?? "unknown")"
            if let waitingFor = waiter.waitingFor { line += ", for \(waitingFor.brief)" }
            details.append(line)
        }
        if lock.waiterCount > lock.waiters.count {
            details.append("and \(lock.waiterCount - lock.waiters.count) more")
        }
        details += lock.nodes.map { "\($0.name): \($0.state)" }
        // Names, places and what servers say come from others: here all of it goes by.
        let first = "\(Console.bold(lock.name.rawValue.harmless)): \(state.harmless)"
        return ([first] + details.map { Console.dim("  \($0.harmless)") }).joined(separator: "\n")
    }

    private struct Report: Encodable {
        struct Owner: Encodable {
            var host: String?
            var pid: Int32?
            var label: String?
        }
        struct Holder: Encodable {
            var owner: Owner?
            var token: String?
            var remainingLeaseMilliseconds: Int?
            var heldForMilliseconds: Int?
            var isBroken: Bool
        }
        struct Waiter: Encodable {
            var owner: Owner?
            var waitingForMilliseconds: Int?
        }
        struct Lock: Encodable {
            var name: String
            /// The first of `holders`.
            var holder: Holder?
            var holders: [Holder]
            var waiters: [Waiter]
            var waiterCount: Int
            var lastToken: String?
            var tokenDomain: String
            var nodes: [Node]?
            var obstacles: [Obstacle]?
        }
        struct Obstacle: Encodable {
            var place: String
            var reason: String
        }
        struct Node: Encodable {
            var name: String
            var state: String
        }
        var backend: String
        var locks: [Lock]
    }

    static func json(_ locks: [LockStatus], of backend: any LockBackend) throws -> String {
        let report = Report(
            backend: backend.identity,
            locks: locks.map { lock in
                Report.Lock(
                    name: lock.name.rawValue,
                    holder: lock.holder.map(Self.holder),
                    holders: lock.holders.map(Self.holder),
                    waiters: lock.waiters.map { waiter in
                        Report.Waiter(
                            owner: Self.owner(waiter.metadata),
                            waitingForMilliseconds: waiter.waitingFor.map(Self.milliseconds)
                        )
                    },
                    waiterCount: lock.waiterCount,
                    lastToken: lock.lastToken?.description,
                    tokenDomain: lock.tokenDomain.rawValue,
                    nodes: lock.nodes.isEmpty ? nil : lock.nodes.map { Report.Node(name: $0.name, state: $0.state) },
                    obstacles: lock.obstacles.isEmpty
                        ? nil : lock.obstacles.map { Report.Obstacle(place: $0.place, reason: $0.reason) }
                )
            }
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return Self.harmless(json: String(decoding: try encoder.encode(report), as: UTF8.self))
    }

    /// The encoder leaves what may control a terminal and is no ASCII control character as it is. It can only stand in a string.
    private static func harmless(json: String) -> String {
        guard json.unicodeScalars.contains(where: { $0.mayControl && $0 != "\n" }) else { return json }
        return json.unicodeScalars.map { scalar in
            guard scalar.mayControl, scalar != "\n" else { return String(scalar) }
            return String(scalar).utf16.map { unit in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
        }.joined()
    }

    private static func holder(_ holder: LockStatus.Holder) -> Report.Holder {
        Report.Holder(
            owner: Self.owner(holder.metadata),
            token: holder.token?.description,
            remainingLeaseMilliseconds: holder.remainingLease.map(Self.milliseconds),
            heldForMilliseconds: holder.heldFor.map(Self.milliseconds),
            isBroken: holder.isBroken
        )
    }

    private static func owner(_ metadata: OwnerMetadata?) -> Report.Owner? {
        metadata.map { Report.Owner(host: $0.host, pid: $0.pid, label: $0.label) }
    }

    private static func milliseconds(_ duration: Duration) -> Int {
        Int(duration / .milliseconds(1))
    }
}
