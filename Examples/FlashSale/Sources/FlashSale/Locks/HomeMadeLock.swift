import Foundation

/// The lock that everybody writes first: a row in a table, with a time when it ends, deleted by whoever is done.
///
/// It is here to be broken. What is wrong with it: it is deleted without a look at whose it is; or it has no end; and
/// nobody who lost it is told so.
struct HomeMadeLock {
    let shop: any SaleShop
    /// When it ends by itself, after it was taken; `nil` for never.
    let leaseInMilliseconds: Int?

    func withLock(_ body: () throws -> Void) throws {
        while true {
            let now = Int64(Date().timeIntervalSince1970 * 1_000)
            let end = self.leaseInMilliseconds.map { now + Int64($0) } ?? .max
            if try self.shop.takeHomeMadeLock(until: end, now: now) { break }
            usleep(2_000)
        }
        try body()
        try self.shop.deleteHomeMadeLock()
    }
}
