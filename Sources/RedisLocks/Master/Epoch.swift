import DistributedLocks

extension FencingToken {
    /// A count has so many bits; the epoch stands above them.
    static let countBits: Int64 = 47
    /// The highest epoch that fits.
    static let maximumEpoch: Int64 = 1 << 16 - 1

    /// The token of a master that was elected: whoever was elected later is above it, whatever its clock says.
    ///
    /// - Parameters:
    ///   - epoch: with which it was minted; 0 where there are no Sentinels.
    ///   - count: what a script answers.
    init?(epoch: Int64, count: Int64) {
        guard epoch != 0 else {
            self.init(rawValue: count)
            return
        }
        guard (1...Self.maximumEpoch).contains(epoch), count > 0, count < 1 << Self.countBits else { return nil }
        self.init(rawValue: epoch << Self.countBits | count)
    }
}
