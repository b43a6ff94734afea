import CSupervision
import LockKernel
import Supervision
import Testing

let path = (name: "PATH", value: "/usr/local/bin:/usr/bin:/bin")

/// Starts a command in this very process, without a terminal.
func supervise(
    _ arguments: [String],
    environment: [(name: String, value: String)] = [path],
    liveness: [Int32] = [],
    deadline: Duration = .seconds(60),
    grace: Duration = .seconds(5)
) async throws -> Supervisor {
    try await Supervisor.start(
        SupervisedCommand(arguments: arguments, environment: environment, livenessDescriptors: liveness),
        deadline: .now + deadline,
        grace: grace,
        terminal: nil
    )
}

extension Supervisor {
    /// The last event.
    func end() async -> Event? {
        var last: Event?
        while let event = await nextEvent() { last = event }
        return last
    }
}

func run(_ arguments: [String], environment: [(name: String, value: String)] = [path]) async throws -> Supervisor.Event?
{
    try await supervise(arguments, environment: environment).end()
}

/// Whether the group is gone, or is in a moment: a process lets go of its files a little before it is dead.
func isGone(_ group: pid_t) async -> Bool {
    let deadline = ContinuousClock.now + .seconds(20)
    while csup_group_is_alive(group) {
        if ContinuousClock.now > deadline { return false }
        await Task.yield()
    }
    return true
}
