/// The grants that this task tree holds in scoped calls, the innermost first.
///
/// The entries refer to live state: a task that outlives the body inherits the list, and finds that the body has ended.
final class TaskHolds: Sendable {
    @TaskLocal static var current: TaskHolds?

    private let backend: String
    private let hold: Hold
    private let outer: TaskHolds?

    init(backend: String, hold: Hold, outer: TaskHolds?) {
        self.backend = backend
        self.hold = hold
        self.outer = outer
    }

    /// The grant of a name on a backend whose body still runs.
    static func running(_ name: LockName, backend: String) -> Hold? {
        var entry = Self.current
        while let some = entry {
            if some.hold.claim.name == name && some.backend == backend && some.hold.hasRunningBody {
                return some.hold
            }
            entry = some.outer
        }
        return nil
    }
}
