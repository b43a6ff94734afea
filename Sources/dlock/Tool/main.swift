import DistributedLocks
import LockURLs
let n = Int(CommandLine.arguments[2])!
try await withLockClient(CommandLine.arguments[1]) { locks in
    var last: FencingToken?
    let start = ContinuousClock.now
    for _ in 0..<n {
        try await locks.withLock("a") { held in last = held.token }
    }
    let d = ContinuousClock.now - start
    print("\(Double(n) / (d / .seconds(1))) cycles/s, token \(last!)")
}
