/// Some of the instances of a Redlock, by their places in the list.
struct InstanceSet: Hashable, Sendable {
    /// A configuration has at most 31, and a change of it one more.
    static var maximumCount: Int { UInt32.bitWidth }

    private var bits: UInt32

    init() { self.bits = 0 }

    init(_ index: Int) { self.bits = 1 << UInt32(index) }

    /// The first so many.
    static func all(_ count: Int) -> InstanceSet {
        precondition(count <= Self.maximumCount, "\(count) instances are more than a Redlock can have")
        var all = InstanceSet()
        all.bits = count == Self.maximumCount ? .max : (1 << UInt32(count)) - 1
        return all
    }

    var isEmpty: Bool { self.bits == 0 }
    var count: Int { self.bits.nonzeroBitCount }

    func contains(_ index: Int) -> Bool { self.bits & 1 << UInt32(index) != 0 }

    mutating func insert(_ index: Int) { self.bits |= 1 << UInt32(index) }
    mutating func remove(_ index: Int) { self.bits &= ~(1 << UInt32(index)) }

    func intersection(_ other: InstanceSet) -> InstanceSet {
        var both = self
        both.bits &= other.bits
        return both
    }

    func subtracting(_ other: InstanceSet) -> InstanceSet {
        var rest = self
        rest.bits &= ~other.bits
        return rest
    }

    /// - Parameter first: the one to begin with; those before it come last.
    func forEach(from first: Int = 0, _ body: (Int) -> Void) {
        let before = self.bits & ((1 << UInt32(first)) - 1)
        Self.forEach(self.bits & ~before, body)
        Self.forEach(before, body)
    }

    private static func forEach(_ bits: UInt32, _ body: (Int) -> Void) {
        var rest = bits
        while rest != 0 {
            body(rest.trailingZeroBitCount)
            rest &= rest - 1
        }
    }
}
