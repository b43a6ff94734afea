/// Decides how soon one claim asks again when the session is attached to a server again.
///
/// A server ends the connection, without an answer, when a request is longer than its buffer (`jute.maxbuffer`), and with it
/// whatever other claims have asked. So a claim that has stood still for some connections in a row asks later and later, and
/// the others get on meanwhile.
struct ResumptionStateMachine {
    /// So often it is asked again at once: connections also end for reasons that no claim is to blame for.
    static let mostAtOnce = 3
    static var longestPause: Duration { .seconds(20) }

    private var before: ContenderStateMachine.State?
    private var standstills = 0

    /// The session is attached.
    ///
    /// - Parameter state: what the claim is in.
    /// - Returns: how long to wait before it asks; `nil`: not at all.
    mutating func attached(in state: ContenderStateMachine.State) -> ZooKeeperMachine.Pause? {
        self.standstills = self.before == state ? self.standstills + 1 : 0
        self.before = state
        guard self.standstills > Self.mostAtOnce else { return nil }
        let doublings = min(self.standstills - Self.mostAtOnce - 1, 10)
        let longest = min(.milliseconds(500) * (1 << doublings), Self.longestPause)
        return ZooKeeperMachine.Pause(shortest: longest / 2, longest: longest)
    }

    /// A claim that waits or holds, and has nothing to ask, does not stand still.
    mutating func hadNothingToAsk() { self.before = nil }
}
