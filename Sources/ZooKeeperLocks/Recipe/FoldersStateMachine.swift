/// The folders of locks that this client has used, and which of them it should delete.
///
/// A server removes folders that have become empty at a limited rate, and only looks once a minute: whoever locks ever new names
/// would leave more than it removes. So each client deletes those that it has not used for a while. A folder that is not empty
/// cannot be deleted, so this never takes a lock away from anybody; whoever comes right then makes the folder again.
///
/// States of a folder: *known* (with the sweep before which it was used last), *forgotten*. Pure: what has to be deleted is
/// returned, and what came of it is fed in.
struct FoldersStateMachine {
    private struct Folder {
        /// How many sweeps there had been when it was used last.
        var lastUse: Int
        /// It was there when it was heard of last.
        var isThere: Bool
        /// Others were in it.
        var isOthers: Bool
    }

    /// At most so many are known. More than that are left to the server.
    static let maximumCount = 16_384
    /// Sweeps are this far apart. A folder that was used between the last two is kept.
    static var interval: Duration { .seconds(1) }

    private var folders: [String: Folder] = [:]
    private var sweeps = 0
    private var hasMadeRoom = false

    var isEmpty: Bool { self.folders.isEmpty }

    /// A contender is to be made. Returns whether its folder was there a moment ago.
    mutating func used(_ lock: String) -> Bool {
        guard let index = self.folders.index(forKey: lock) else { return false }
        let folder = self.folders.values[index]
        if folder.lastUse != self.sweeps || folder.isOthers {
            self.folders.values[index].lastUse = self.sweeps
            self.folders.values[index].isOthers = false
        }
        return folder.isThere
    }

    /// Whether this client has used it a moment ago, and has seen nobody else there since.
    func isOwn(_ lock: String) -> Bool {
        self.folders[lock].map { $0.isThere && !$0.isOthers } ?? false
    }

    /// Whether room has to be made for this one before it is noted.
    func isFull(for lock: String) -> Bool { self.folders.count >= Self.maximumCount && self.folders[lock] == nil }

    /// The folder is there, or has been asked for.
    ///
    /// - Parameter inUse: The folders in which this client has a contender.
    /// - Returns: which are to be deleted at once, so that there is room for this one.
    mutating func noted(_ lock: String, isThere: Bool, inUse: () -> Set<String>) -> [String] {
        if let index = self.folders.index(forKey: lock) {
            if self.folders.values[index].isThere != isThere { self.folders.values[index].isThere = isThere }
            return []
        }
        var deleted: [String] = []
        if self.folders.count >= Self.maximumCount {
            // Once between two sweeps: where all are in use it would be in vain.
            guard !self.hasMadeRoom else { return [] }
            self.hasMadeRoom = true
            deleted = self.takeOut(inUse: inUse()) { _ in true }
            guard !deleted.isEmpty else { return [] }
        }
        self.folders[lock] = Folder(lastUse: self.sweeps, isThere: isThere, isOthers: false)
        return deleted
    }

    /// The folder was not there.
    mutating func missed(_ lock: String) {
        self.folders[lock] = nil
    }

    /// Others were seen in it: they delete it.
    mutating func sawOthers(in lock: String) {
        guard let index = self.folders.index(forKey: lock) else { return }
        self.folders.values[index].isOthers = true
    }

    /// It is time to look for folders that nobody here uses. Returns which are to be deleted.
    mutating func sweepDue(inUse: Set<String>) -> [String] {
        self.sweeps += 1
        self.hasMadeRoom = false
        for lock in inUse { _ = self.used(lock) }
        let before = self.sweeps - 2
        return self.takeOut(inUse: inUse) { $0.lastUse <= before }
    }

    /// Nothing is known of a delete.
    mutating func notDeleted(_ lock: String) {
        guard self.folders[lock] == nil, self.folders.count < Self.maximumCount else { return }
        self.folders[lock] = Folder(lastUse: self.sweeps, isThere: false, isOthers: false)
    }

    /// The client ends. Returns which are to be deleted.
    mutating func ended(inUse: Set<String>) -> [String] {
        defer { self.folders = [:] }
        return self.takeOut(inUse: inUse) { _ in true }
    }

    private mutating func takeOut(inUse: Set<String>, where isDue: (Folder) -> Bool) -> [String] {
        var deleted: [String] = []
        for (lock, folder) in self.folders where isDue(folder) {
            guard !inUse.contains(lock) else { continue }
            self.folders[lock] = nil
            if !folder.isOthers { deleted.append(lock) }
        }
        // In no order of a dictionary: what a client does follows from what happens to it.
        return deleted.sorted()
    }
}
