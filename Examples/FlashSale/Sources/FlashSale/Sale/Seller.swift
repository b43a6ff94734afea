import DistributedLocks
import Fencing
import Foundation
import LockURLs

/// One seller: a process that serves its part of the buyers, one after another.
struct Seller {
    let plan: Plan
    let number: Int

    func run() async throws {
        let shop = try self.plan.shop()
        switch self.plan.mode {
        case .noLock:
            for buyer in self.buyers {
                let stock = try shop.stock(nil)
                if stock > 0 { try self.sell(shop, buyer, stock, nil) }
            }
        case .blindRelease, .noLease:
            let lease = self.plan.mode == .noLease ? nil : self.plan.leaseInMilliseconds
            let lock = HomeMadeLock(shop: shop, leaseInMilliseconds: lease)
            for buyer in self.buyers where try !shop.hasBought(buyer) {
                try lock.withLock {
                    let stock = try shop.stock(nil)
                    if stock > 0 { try self.sell(shop, buyer, stock, nil) }
                }
            }
        case .noFence, .fenced:
            try await withLockClient(self.plan.backend) { locks in
                for buyer in self.buyers { try await self.serve(buyer, shop, locks) }
            }
        }
    }

    private var buyers: StrideTo<Int> { stride(from: self.number, to: self.plan.buyers, by: self.plan.sellers) }

    /// Serves a buyer, again and again until the buyer has an item or there is none.
    private func serve(_ buyer: Int, _ shop: any SaleShop, _ locks: LockClient) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        // A seller that took the place of a killed one does not sell to the same buyer twice.
        while try !shop.hasBought(buyer) {
            do {
                let lease = Duration.milliseconds(self.plan.leaseInMilliseconds)
                try await locks.withLock(saleName, lease: lease, waitingAtMost: .seconds(30)) { held in
                    let stamp = self.plan.mode == .fenced ? held.stamp : nil
                    try self.sellUnderLock(shop, buyer, stamp)
                }
                return
            } catch let error as LockError where error.code == .lost || error.isRetriable {
                // Lost while it was at it, or the lock server is being restarted: look what became of the sale.
                guard ContinuousClock.now < deadline else { throw error }
            } catch is FenceRefusal {
                continue
            }
        }
    }

    private func sellUnderLock(_ shop: any SaleShop, _ buyer: Int, _ stamp: FencingStamp?) throws {
        do {
            let stock = try shop.stock(stamp)
            if stock > 0 { try self.sell(shop, buyer, stock, stamp) }
        } catch let refusal as FenceRefusal {
            try shop.recordRefusal(by: self.number)
            throw refusal
        }
    }

    /// Stops this process, and this thread before it takes another step: a signal to the process might be taken by another
    /// thread, while this one goes on and is stopped in the middle of its transaction.
    private static func stop() { pthread_kill(pthread_self(), SIGSTOP) }

    private func sell(_ shop: any SaleShop, _ buyer: Int, _ stock: Int, _ stamp: FencingStamp?) throws {
        var fault = self.plan.mode.fault(stock: stock, of: self.plan.items)
        if fault != nil, try !shop.claimFault(at: stock) { fault = nil }
        usleep(Plan.paymentInMicroseconds)
        switch fault {
        case .stopBeforeWriting: Self.stop()
        case .dieBeforeWriting: kill(getpid(), SIGKILL)
        case .stopAfterWriting, .dieAfterWriting, nil: break
        }
        try shop.sell(to: buyer, by: self.number, stock: stock, stamp)
        switch fault {
        case .stopAfterWriting: Self.stop()
        case .dieAfterWriting: kill(getpid(), SIGKILL)
        case .stopBeforeWriting, .dieBeforeWriting, nil: break
        }
    }
}
