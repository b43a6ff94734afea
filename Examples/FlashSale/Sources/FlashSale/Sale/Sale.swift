import Foundation

/// One sale in one mode: starts the sellers, lets stopped ones go on, replaces killed ones, and counts.
struct Sale {
    /// What came of it.
    struct Outcome: Codable {
        var mode: String
        var items: Int
        var sold: Int
        var oversold: Int
        var refused: Int
        var stopped: Int
        var killed: Int
        var isDeadlocked: Bool
        var seconds: Double
        /// Sellers that ended with an error.
        var failed: Int
    }

    let plan: Plan
    /// A shell command that is run when half of the items are sold.
    let disturbance: String?

    private struct Stopped {
        var pid: pid_t
        var since: ContinuousClock.Instant
        var soldThen: Int
    }

    /// A sale in which nothing moves for so long is deadlocked. Longer than any lease.
    private static let patience: Duration = .seconds(4)

    func run() throws -> Outcome {
        let shop = try self.plan.shop()
        try shop.open(items: self.plan.items)
        let lifeline = try Lifeline()
        let started = ContinuousClock.now
        var running: [pid_t: SellerProcess] = [:]
        for number in 0..<self.plan.sellers {
            let seller = try SellerProcess(number, self.plan, lifeline: lifeline)
            running[seller.pid] = seller
        }
        var outcome = Outcome(
            mode: self.plan.mode.title, items: self.plan.items, sold: 0, oversold: 0, refused: 0, stopped: 0, killed: 0,
            isDeadlocked: false, seconds: 0, failed: 0)
        var stopped: [Stopped] = []
        var isDisturbed = self.disturbance == nil
        var lastChange = started
        while !running.isEmpty {
            var status: Int32 = 0
            let pid = waitpid(-1, &status, WNOHANG | WUNTRACED)
            if pid > 0, let seller = running[pid] {
                lastChange = .now
                if status & 0xFF == 0x7F {
                    outcome.stopped += 1
                    stopped.append(Stopped(pid: pid, since: .now, soldThen: try shop.sold()))
                    continue
                }
                running[pid] = nil
                if status & 0x7F == SIGKILL {
                    outcome.killed += 1
                    // Somebody takes its place, as a service's supervisor would have it. Where there is no lease, a
                    // newcomer would wait like all the others.
                    let seller = try SellerProcess(seller.number, self.plan, lifeline: lifeline)
                    running[seller.pid] = seller
                } else if status != 0 {
                    outcome.failed += 1
                }
                continue
            }
            let sold = try shop.sold()
            if sold != outcome.sold { lastChange = .now }
            outcome.sold = sold
            if !isDisturbed, sold >= self.plan.items / 2 {
                isDisturbed = true
                try Self.runShell(self.disturbance ?? "")
                lastChange = .now
            }
            let stoppedBefore = stopped.count
            stopped.removeAll { self.goesOn($0, sold: sold) }
            if stopped.count < stoppedBefore { lastChange = .now }
            let isSoldOut = try shop.stock(nil) <= 0
            if ContinuousClock.now - lastChange > Self.patience, !isSoldOut, stopped.isEmpty {
                outcome.isDeadlocked = true
                for pid in running.keys { kill(pid, SIGKILL) }
                for pid in running.keys { waitpid(pid, &status, 0) }
                running = [:]
            }
            usleep(5_000)
        }
        outcome.sold = try shop.sold()
        outcome.refused = try shop.refused()
        outcome.oversold = max(0, outcome.sold - self.plan.items)
        outcome.seconds = (ContinuousClock.now - started) / .seconds(1)
        return outcome
    }

    /// Lets a stopped seller go on when it is late enough: its lease has passed and others have sold some meanwhile, or
    /// nobody will.
    private func goesOn(_ seller: Stopped, sold: Int) -> Bool {
        let paused = ContinuousClock.now - seller.since
        let lease = Duration.milliseconds(self.plan.leaseInMilliseconds)
        let isLate = paused > lease && (sold >= seller.soldThen + max(1, self.plan.items / 20) || paused > lease * 4)
        if isLate { kill(seller.pid, SIGCONT) }
        return isLate
    }

    private static func runShell(_ command: String) throws {
        // Not Foundation's Process: it waits for whatever daemon the command starts, too.
        let status = system(command)
        guard status == 0 else {
            throw DatabaseFailure(description: "'\(command)' ended with the status \(status)")
        }
    }
}
