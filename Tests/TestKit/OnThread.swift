import Foundation

/// Runs on a thread of its own what waits for a server or a process in place.
///
/// Tests run on a thread for each processor, and many of them measure times: one that waited there for a process to
/// start would keep the others waiting, too.
package func onThread<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) async throws -> Success {
    try await withCheckedThrowingContinuation { done in
        Thread { done.resume(with: Result { try body() }) }.start()
    }
}
