/// How the sellers keep out of each other's way.
enum Mode: String, CaseIterable, Sendable {
    case noLock = "no-lock"
    case blindRelease = "blind-release"
    case noLease = "no-lease"
    case noFence = "no-fence"
    case fenced = "fenced"

    /// What the table says.
    var title: String {
        switch self {
        case .noLock: "no lock"
        case .blindRelease: "a lock that anybody deletes"
        case .noLease: "a lock without a lease"
        case .noFence: "a lock with a lease, no fence"
        case .fenced: "lock, lease and fence"
        }
    }

    /// What happens to the seller that reads this stock; `nil` if nothing does.
    ///
    /// The numbers are parts of all items, so that a small sale has its faults, too.
    func fault(stock: Int, of items: Int) -> Fault? {
        let plan: [(part: Double, fault: Fault)] =
            switch self {
            case .noLock: []
            // Each time it is a matter of instants whether two meet; several times it is not.
            case .blindRelease:
                [
                    (0.9, .stopAfterWriting), (0.8, .stopAfterWriting), (0.7, .stopAfterWriting),
                    (0.6, .stopAfterWriting),
                    (0.5, .stopAfterWriting),
                ]
            case .noLease: [(0.6, .dieBeforeWriting)]
            case .noFence: [(0.9, .stopBeforeWriting), (0.6, .stopBeforeWriting)]
            case .fenced:
                [
                    (0.9, .stopBeforeWriting), (0.8, .dieBeforeWriting), (0.7, .stopAfterWriting),
                    (0.6, .dieAfterWriting), (0.5, .stopBeforeWriting), (0.3, .dieBeforeWriting),
                    (0.2, .stopBeforeWriting),
                ]
            }
        return plan.first { Int((Double(items) * $0.part).rounded()) == stock }?.fault
    }
}

/// What is done to a seller while it holds the lock.
enum Fault: Sendable {
    /// It is stopped (SIGSTOP) after it read the stock, past its lease, until others have sold some.
    case stopBeforeWriting
    /// It is stopped after it wrote, before it releases the lock.
    case stopAfterWriting
    /// It is killed (SIGKILL).
    case dieBeforeWriting
    case dieAfterWriting
}
