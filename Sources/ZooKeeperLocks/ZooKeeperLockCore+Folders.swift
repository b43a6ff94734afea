import DistributedLocks
import LockKernel
import LockTransport
import Logging
import NIOCore

/// The shell of ``FoldersStateMachine``.
extension ZooKeeperLockCore {
    /// So many are deleted by one transaction.
    private static let maximumDeletes = 128
    /// Folders that are left when the client ends are waited for so long.
    private static let patienceAtEnd = Duration.milliseconds(500)

    func noteFolder(_ lock: String, isThere: Bool) {
        guard !self.isEnding else { return }
        let wasEmpty = self.folders.isEmpty
        let room = self.folders.noted(lock, isThere: isThere, inUse: self.locksInUse)
        if wasEmpty { self.armSweep() }
        if !room.isEmpty { self.deleteFolders(room) {} }
    }

    private func armSweep() {
        guard !self.folders.isEmpty else { return }
        self.sweepTimer.arm(self.now + FoldersStateMachine.interval) {
            // Without a connection nothing can be deleted, and what is idle stays so.
            if self.client.isOpen { self.deleteFolders(self.folders.sweepDue(inUse: self.locksInUse())) {} }
            self.armSweep()
        }
    }

    private func locksInUse() -> Set<String> {
        Set(self.contenders.values.lazy.filter { !$0.machine.isOver }.map(\.lock))
    }

    /// - Parameter then: Called when it is known what became of all of them, or that it cannot be known.
    private func deleteFolders(_ locks: [String], then: @escaping () -> Void) {
        var rest = locks[...]
        var left = 0
        let ended = {
            left -= 1
            if left == 0 { then() }
        }
        var groups: [[String]] = []
        while !rest.isEmpty {
            groups.append(Array(rest.prefix(Self.maximumDeletes)))
            rest = rest.dropFirst(Self.maximumDeletes)
        }
        left = groups.count
        guard left > 0 else { return then() }
        for group in groups { self.deleteTogether(group, then: ended) }
    }

    /// All or nothing. If somebody is in one of them, each is deleted by itself.
    private func deleteTogether(_ locks: [String], then: @escaping () -> Void) {
        guard locks.count > 1 else { return self.deleteEach(locks, then: then) }
        self.submit(.multi(locks.map { .delete(path: $0) })) { result in
            switch result {
            case .success(let reply):
                if case .multi(let parts) = reply.answer, Self.refusal(of: parts) == nil { return then() }
                self.deleteEach(locks, then: then)
            case .failure(let error) where error.serverCode != nil:
                self.deleteEach(locks, then: then)
            case .failure:
                for lock in locks { self.folders.notDeleted(lock) }
                then()
            }
        }
    }

    private func deleteEach(_ locks: [String], then: @escaping () -> Void) {
        for (index, lock) in locks.enumerated() {
            self.submit(.delete(path: lock)) { result in
                // One that somebody is in is left to them.
                if case .failure(let error) = result, error.serverCode == nil { self.folders.notDeleted(lock) }
                if index == locks.count - 1 { then() }
            }
        }
    }

    /// Why nothing of a `multi` was carried out; `nil` if it was.
    static func refusal(of parts: [ZooKeeperAnswer.MultiResult]) -> ZooKeeperCode? {
        var refusal: ZooKeeperCode?
        for case .failed(let code) in parts {
            refusal = refusal ?? code
            if code != .ok && code != .runtimeInconsistency { return code }
        }
        return refusal
    }

    // MARK: The end

    /// Ends the session when what this client need not leave behind is gone.
    func stop() {
        self.flushWrites()
        self.isEnding = true
        self.sweepTimer.cancel()
        // What is being left is deleted before: requests are carried out in their order.
        let inUse = Set(self.contenders.values.lazy.filter { !$0.machine.isDeleting }.map(\.lock))
        let folders = self.folders.ended(inUse: inUse)
        guard self.client.isOpen, !folders.isEmpty else { return self.client.stop() }
        if folders.count == 1 {
            // The end of the session follows on its heels.
            self.deleteFolders(folders) {}
            return self.client.stop()
        }
        var isStopped = false
        let stop = {
            if !isStopped { self.client.stop() }
            isStopped = true
        }
        self.sweepTimer.arm(self.now + Self.patienceAtEnd) { stop() }
        self.deleteFolders(folders) { stop() }
    }
}
