import Synchronization

/// A value that tasks of a test share.
package final class Mutexed<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    package init(_ value: Value) { self.mutex = Mutex(value) }

    package func withLock<Result: Sendable>(_ body: (inout sending Value) -> sending Result) -> Result {
        self.mutex.withLock(body)
    }
}
