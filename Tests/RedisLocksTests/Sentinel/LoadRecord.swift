import DistributedLocks
import Fencing
import TestKit

/// What processes under load have said of their grants: see TestAgent/Load.swift. Times in nanoseconds of the boot clock.
struct LoadRecord {
    struct Grant {
        let name: Substring
        let requestedAt: Int64
        let grantedAt: Int64
        let endedAt: Int64
        let token: FencingToken
        let isLost: Bool
    }

    let grants: [Grant]
    let errors: [String: Int]

    /// - Parameter count: of each process, only so many of the last lines.
    init(_ agents: [AgentProcess], last count: Int = .max) {
        var grants: [Grant] = []
        var errors: [String: Int] = [:]
        for line in agents.flatMap({ $0.lines.suffix(count) }) {
            let words = line.split(separator: " ")
            if words.first == "grant", words.count == 7, let requested = Int64(words[2]), let granted = Int64(words[3]),
                let ended = Int64(words[4]), let token = FencingToken(String(words[5]))
            {
                grants.append(
                    Grant(
                        name: words[1],
                        requestedAt: requested,
                        grantedAt: granted,
                        endedAt: ended,
                        token: token,
                        isLost: words[6] == "lost"
                    )
                )
            } else if words.first == "error", words.count > 1 {
                errors[String(words[1]), default: 0] += 1
            }
        }
        self.grants = grants.sorted { $0.grantedAt < $1.grantedAt }
        self.errors = errors
    }

    var lostCount: Int { self.grants.count { $0.isLost } }

    /// Tokens that were granted twice for one name.
    var duplicates: [FencingToken] {
        var seen: Set<[String]> = []
        return self.grants.filter { !seen.insert([String($0.name), "\($0.token)"]).inserted }.map(\.token)
    }

    /// Grants that were asked for after another one of the same name had been given, and have a lower token.
    ///
    /// - Parameter withinEpoch: whether only grants of one epoch are compared.
    func fallen(withinEpoch: Bool) -> [(earlier: Grant, later: Grant)] {
        var fallen: [(Grant, Grant)] = []
        let groups = Dictionary(grouping: self.grants) { "\($0.name) \(withinEpoch ? "\($0.token.epoch)" : "")" }
        for group in groups.values {
            // Both in the order of time: what was granted before a request is swept up once.
            let requests = group.sorted { $0.requestedAt < $1.requestedAt }
            var highest: Grant?
            var index = 0
            for request in requests {
                while index < group.count, group[index].grantedAt < request.requestedAt {
                    if highest.map({ group[index].token > $0.token }) ?? true { highest = group[index] }
                    index += 1
                }
                if let highest, request.token <= highest.token { fallen.append((highest, request)) }
            }
        }
        return fallen
    }

    /// How often two believed to hold a lock at the same time.
    var overlaps: Int {
        var count = 0
        for group in Dictionary(grouping: self.grants, by: \.name).values {
            var end = Int64.min
            for grant in group {
                if grant.grantedAt < end { count += 1 }
                end = max(end, grant.endedAt)
            }
        }
        return count
    }

    /// Writes that a fence refuses if each grant writes when it is given and when it ends.
    var refusedWrites: Int {
        var fences: [Substring: FenceRule] = [:]
        let writes = self.grants.flatMap { [($0.grantedAt, $0), ($0.endedAt, $0)] }.sorted { $0.0 < $1.0 }
        return writes.count { _, grant in
            !fences[grant.name, default: FenceRule()].presented(FencingStamp(grant.token, domain: .clock)).isAccepted
        }
    }
}
