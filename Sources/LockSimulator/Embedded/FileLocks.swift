#if Embedded
import CSimulator
import LockKernel

/// What those who have a database open keep from each other: SQLite's locks on the file (sqlite.org/lockingv3.html), and the memory of
/// its log's index with its eight locks (sqlite.org/walformat.html). They end with the process.
final class FileLocks {
    /// By those who have it open, in that order.
    private var files: [OpenFile] = []
    private var index: Int32 = -1
    private var indexLength = 0
    static let regionLength = 32 * 1_024

    deinit { if self.index >= 0 { csim_shared_close(self.index) } }

    func opened(_ file: OpenFile) { self.files.append(file) }

    func closed(_ file: OpenFile) { self.files.removeAll { $0 === file } }

    func close(_ user: any DiskUser) {
        for file in self.files where file.user === user { file.index?.detach() }
        self.files.removeAll { $0.user === user }
    }

    // MARK: The file

    enum Level: Int32, Comparable {
        case none, shared, reserved, pending, exclusive

        static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    private func others(_ file: OpenFile) -> [OpenFile] { self.files.filter { $0 !== file } }

    /// False: somebody else is in the way.
    func lock(_ file: OpenFile, _ level: Level) -> Bool {
        guard file.level < level else { return true }
        let highest = self.others(file).map(\.level).max() ?? .none
        switch level {
        case .none: return true
        case .shared:
            guard highest < .pending else { return false }
            file.level = .shared
        case .reserved:
            guard highest < .reserved else { return false }
            file.level = .reserved
        case .pending: preconditionFailure("nobody asks for it")
        case .exclusive:
            guard highest < .reserved else { return false }
            // Nobody new comes in, until those who are there have left.
            file.level = .pending
            guard highest == .none else { return false }
            file.level = .exclusive
        }
        return true
    }

    func isReserved(besides file: OpenFile) -> Bool {
        file.level >= .reserved || self.others(file).contains { $0.level >= .reserved }
    }

    // MARK: The index

    /// What one has mapped of the index, and its locks.
    final class Index {
        fileprivate(set) var regions: [UnsafeMutableRawPointer] = []
        fileprivate var shared: UInt32 = 0
        fileprivate var exclusive: UInt32 = 0

        /// What its process still does there is seen by nobody.
        fileprivate func detach() {
            self.shared = 0
            self.exclusive = 0
            for region in self.regions {
                precondition(csim_shared_detach(region, FileLocks.regionLength), "no memory for a dead process")
            }
        }

        deinit { for region in self.regions { csim_shared_unmap(region, FileLocks.regionLength) } }
    }

    /// Who comes when nobody is there finds zeros, whatever the last one has left.
    func openIndex(_ file: OpenFile) -> Index {
        if let index = file.index { return index }
        if self.index < 0 { self.index = csim_shared_make() }
        precondition(self.index >= 0, "no shared memory can be made")
        if !self.files.contains(where: { $0.index != nil }) {
            precondition(csim_shared_resize(self.index, 0), "shared memory cannot be made empty")
            self.indexLength = 0
        }
        let index = Index()
        file.index = index
        return index
    }

    /// Whether nobody else has it.
    func closeIndex(_ file: OpenFile) -> Bool {
        file.index = nil
        return !self.files.contains { $0.index != nil }
    }

    /// `nil`: it is not that long, and is not to be made so.
    func region(_ number: Int, of index: Index, extending: Bool) -> UnsafeMutableRawPointer? {
        let length = (number + 1) * Self.regionLength
        if self.indexLength < length {
            guard extending else { return nil }
            precondition(csim_shared_resize(self.index, length), "no more shared memory")
            self.indexLength = length
        }
        while index.regions.count <= number {
            let region = csim_shared_map(self.index, index.regions.count * Self.regionLength, Self.regionLength)
            guard let region else { preconditionFailure("shared memory cannot be mapped") }
            index.regions.append(region)
        }
        return index.regions[number]
    }

    /// False: somebody else is in the way.
    func lockIndex(_ file: OpenFile, mask: UInt32, isExclusive: Bool) -> Bool {
        guard let own = file.index else { return false }
        for other in self.files {
            guard let index = other.index, index !== own else { continue }
            if index.exclusive & mask != 0 || isExclusive && index.shared & mask != 0 { return false }
        }
        if isExclusive { own.exclusive |= mask } else { own.shared |= mask }
        return true
    }

    func unlockIndex(_ file: OpenFile, mask: UInt32) {
        file.index?.exclusive &= ~mask
        file.index?.shared &= ~mask
    }
}
#endif
