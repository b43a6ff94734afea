/// What a decoder accepts at most. The defaults are ample for a client of locks, whose replies are short.
package struct RESPLimits: Sendable, Hashable {
    /// The payload of one bulk string, bulk error or verbatim string.
    package let maximumBulkLengthInBytes: Int
    /// One line without its type byte and its CRLF: simple strings, errors and numbers. At least 32, so that any length
    /// fits.
    package let maximumLineLengthInBytes: Int
    /// How many aggregates may be open within each other. A reply that is no aggregate has depth 0, a flat array 1.
    package let maximumNestingDepth: Int
    /// The elements of all aggregates of one value together, and so of each of them. A map has two for each entry.
    /// Attributes count, as they take memory while they are read.
    package let maximumElementCount: Int
    /// One whole value as it is on the wire, with its attributes. This bounds what a decoder holds.
    package let maximumPendingBytes: Int

    package init(
        maximumBulkLengthInBytes: Int = 1 << 20,
        maximumLineLengthInBytes: Int = 16 << 10,
        maximumNestingDepth: Int = 16,
        maximumElementCount: Int = 16 << 10,
        maximumPendingBytes: Int = 4 << 20
    ) {
        // A buffer cannot hold more than 4 GiB; and sums of two of these cannot overflow.
        let possible = 0...(1 << 32)
        precondition(possible.contains(maximumBulkLengthInBytes), "maximumBulkLengthInBytes is not in \(possible)")
        precondition((32...1 << 32).contains(maximumLineLengthInBytes), "maximumLineLengthInBytes is not in 32...2^32")
        precondition((0...1024).contains(maximumNestingDepth), "maximumNestingDepth is not in 0...1024")
        precondition(possible.contains(maximumElementCount), "maximumElementCount is not in \(possible)")
        precondition(possible.contains(maximumPendingBytes), "maximumPendingBytes is not in \(possible)")
        self.maximumBulkLengthInBytes = maximumBulkLengthInBytes
        self.maximumLineLengthInBytes = maximumLineLengthInBytes
        self.maximumNestingDepth = maximumNestingDepth
        self.maximumElementCount = maximumElementCount
        self.maximumPendingBytes = maximumPendingBytes
    }
}
