import DistributedLocks
import Foundation
import LockKernel

/// While a terminal's user waits: one line that tells who holds the lock, for how long, and our place in the queue.
struct WaitingLine {
    let client: LockClient
    let name: LockName

    /// Shows the line until cancelled. Nothing is shown in the first moments, and nothing at all without a terminal.
    func show() async {
        guard Console.canShowPassing else { return }
        let started = ContinuousClock.now
        var pause: Duration = .milliseconds(300)
        while true {
            do { try await Task.sleep(for: pause) } catch { break }
            pause = .seconds(1)
            guard let status = try? await self.client.status(of: self.name), !Task.isCancelled else { continue }
            let waiting = ContinuousClock.now - started
            Console.showPassing(self.line(status, waiting: waiting, width: Console.errorWidth - 1))
        }
        Console.clearPassing()
    }

    /// What matters most stands first; what does not fit is left out at the end.
    func line(_ status: LockStatus, waiting: Duration, width: Int) -> String {
        var line =
            "dlock: waiting \(waiting.brief) for '\(self.name.rawValue.harmless.fitted(into: max(16, width / 3)))'"
        let own = self.client.configuration.metadata
        if let index = status.waiters.firstIndex(where: { $0.metadata?.pid == own.pid && $0.metadata?.host == own.host }
        ) {
            line += ", number \(index + 1) of \(status.waiterCount)"
        }
        if let holder = status.holder {
            let state = holder.isBroken ? "told to let go" : holder.heldFor.map { "held for \($0.brief)" } ?? "held"
            line += "; \(state) by \(holder.metadata?.description ?? "another program")"
        }
        return line.fitted(into: width)
    }
}
