import DistributedLocks
import Foundation

/// While a terminal's user waits: one line that tells who holds the lock, for how long, and our place in the queue.
struct WaitingLine {
    let client: LockClient
    let name: LockName

    /// Shows the line until cancelled. Nothing is shown in the first moments, and nothing at all without a terminal.
    func show() async {
        guard Console.isErrorTerminal else { return }
        let started = ContinuousClock.now
        var pause: Duration = .milliseconds(300)
        while true {
            do { try await Task.sleep(for: pause) } catch { break }
            pause = .seconds(1)
            guard let status = try? await self.client.status(of: self.name), !Task.isCancelled else { continue }
            Console.showPassing(self.line(status, waiting: ContinuousClock.now - started))
        }
        Console.clearPassing()
    }

    func line(_ status: LockStatus, waiting: Duration) -> String {
        var line = "dlock: waiting \(waiting.brief) for '\(self.name)'"
        if let holder = status.holder {
            line += ": held by \(holder.metadata?.description ?? "another program")"
            if let heldFor = holder.heldFor { line += " for \(heldFor.brief)" }
            if holder.isBroken { line += ", which was told to let go" }
        }
        let own = self.client.configuration.metadata
        if let index = status.waiters.firstIndex(where: { $0.metadata?.pid == own.pid && $0.metadata?.host == own.host }
        ) {
            line += "; we are number \(index + 1) of \(status.waiterCount) in the queue"
        }
        return line
    }
}
