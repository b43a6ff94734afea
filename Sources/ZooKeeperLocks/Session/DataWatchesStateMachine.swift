/// The watches on data that a session has, which outlive its connections: on each new one they are set again.
///
/// States of a connection: *setting* (so many requests to set watches again are out, or were refused and are asked again later), *set*.
/// As long as not all are set, what is set again is as of the transaction before which nothing was missed, also on the connection after
/// this one: what has happened since is told then. Pure.
struct DataWatchesStateMachine {
    /// A request to set watches again.
    struct Group: Equatable {
        let paths: [String]
        /// Of what has happened after this transaction the server tells at once.
        let zxid: Int64
    }

    private enum State {
        case set
        case setting(since: Int64, unanswered: Int)
    }

    /// The paths of one request are not longer than this together, as in the Java client.
    static let maximumBytes = 128 * 1_024

    private var paths: Set<String> = []
    private var state = State.set

    /// A watch was set.
    mutating func watched(_ path: String) { self.paths.insert(path) }

    /// A watch has fired, or nobody wants to hear of it any more.
    mutating func ended(_ path: String) { self.paths.remove(path) }

    /// There is another session, or none.
    mutating func sessionEnded() {
        self.paths = []
        self.state = .set
    }

    /// The session is attached to a server again.
    ///
    /// - Parameter zxid: the highest transaction that was seen.
    mutating func attached(zxid: Int64) -> [Group] {
        let since: Int64
        switch self.state {
        case .set: since = zxid
        case .setting(let before, _): since = before
        }
        return self.groups(self.paths, since: since, unanswered: 0)
    }

    /// A request is answered. True: it was refused, and has to be asked again after a while, if there is the same connection then: nobody
    /// would be told of anything, and who waits would wait on.
    mutating func answered(isRefused: Bool) -> Bool {
        guard case .setting(let since, let unanswered) = self.state else { return false }
        if isRefused { return true }
        self.state = unanswered > 1 ? .setting(since: since, unanswered: unanswered - 1) : .set
        return false
    }

    /// What was refused is asked again, as far as anybody still wants to hear of it.
    mutating func askedAgain(_ group: Group) -> [Group] {
        guard case .setting(let since, let unanswered) = self.state else { return [] }
        return self.groups(self.paths.intersection(group.paths), since: since, unanswered: unanswered - 1)
    }

    private mutating func groups(_ paths: Set<String>, since: Int64, unanswered: Int) -> [Group] {
        var groups: [Group] = []
        var group: [String] = []
        var bytes = 0
        for path in paths.sorted() {
            group.append(path)
            bytes += path.utf8.count + 4
            guard bytes >= Self.maximumBytes else { continue }
            groups.append(Group(paths: group, zxid: since))
            (group, bytes) = ([], 0)
        }
        if !group.isEmpty { groups.append(Group(paths: group, zxid: since)) }
        let count = unanswered + groups.count
        self.state = count > 0 ? .setting(since: since, unanswered: count) : .set
        return groups
    }
}
