/// What is in a file of a simulated disk, and what of it a power cut would leave.
final class DiskFile {
    private enum Change {
        case write(offset: Int, [UInt8])
        case cut(length: Int)
    }

    /// A power cut leaves the whole of such a part of a write, or nothing of it.
    static let sectorLength = 512

    private(set) var bytes: [UInt8] = []
    /// What was there when it was synced last.
    private var synced: [UInt8] = []
    /// What was done since, in order.
    private var changes: [Change] = []
    private var syncedCount = 0

    init() {}

    func read(_ count: Int, at offset: Int) -> ArraySlice<UInt8> {
        let start = min(offset, self.bytes.count)
        return self.bytes[start..<min(self.bytes.count, start + count)]
    }

    func write(_ new: [UInt8], at offset: Int) {
        Self.put(new[...], at: offset, into: &self.bytes)
        self.changes.append(.write(offset: offset, new))
    }

    func cut(to length: Int) {
        Self.cut(&self.bytes, to: length)
        self.changes.append(.cut(length: length))
    }

    private static func put(_ new: ArraySlice<UInt8>, at offset: Int, into bytes: inout [UInt8]) {
        let end = offset + new.count
        if bytes.count < end { bytes.append(contentsOf: repeatElement(0, count: end - bytes.count)) }
        bytes.replaceSubrange(offset..<end, with: new)
    }

    private static func cut(_ bytes: inout [UInt8], to length: Int) {
        if bytes.count > length {
            bytes.removeLast(bytes.count - length)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: length - bytes.count))
        }
    }

    /// Says how far it has got, for ``sync(upTo:)``: what is done later is not among it.
    var position: Int { self.syncedCount + self.changes.count }

    /// All that was done up to a position survives a power cut from now on.
    func sync(upTo position: Int) {
        let count = position - self.syncedCount
        guard count > 0 else { return }
        for change in self.changes.prefix(count) {
            switch change {
            case .write(let offset, let new): Self.put(new[...], at: offset, into: &self.synced)
            case .cut(let length): Self.cut(&self.synced, to: length)
            }
        }
        self.changes.removeFirst(count)
        self.syncedCount = position
    }

    /// Of what was not synced, anything may be there or not: nothing, all, what was done first, or sectors here and there.
    func losePower(_ generator: inout SimulationGenerator) {
        let changes = self.changes
        switch generator.next(upTo: 4) {
        case 0: break
        case 1: self.sync(upTo: self.position)
        case 2:
            let count = Int(generator.next(upTo: UInt64(changes.count + 1)))
            self.sync(upTo: self.syncedCount + count)
            if count < changes.count { self.tear(changes[count], &generator) }
        case _:
            for change in changes { self.tear(change, &generator) }
        }
        self.bytes = self.synced
        self.syncedCount += self.changes.count
        self.changes = []
    }

    private func tear(_ change: Change, _ generator: inout SimulationGenerator) {
        switch change {
        case .cut(let length):
            if generator.chance(1, of: 2) { Self.cut(&self.synced, to: length) }
        case .write(let offset, let new):
            var start = 0
            while start < new.count {
                let rest = Self.sectorLength - (offset + start) % Self.sectorLength
                let end = min(new.count, start + rest)
                if generator.chance(1, of: 2) { Self.put(new[start..<end], at: offset + start, into: &self.synced) }
                start = end
            }
        }
    }
}
