import LockKernel
import LockTransport
import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite(.timeLimit(.minutes(1))) struct OpenWaitersTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    @Test func `those that wait are resumed in the order in which they came, each once`() async throws {
        let told = Mutexed<[String]>([])
        try await self.loop.submit {
            let waiters = OpenWaiters(eventLoop: self.loop)
            for name in ["a", "b", "c"] {
                waiters.add(within: .seconds(50)) { isInTime in told.withLock { $0.append("\(name) \(isInTime)") } }
            }
            waiters.resumeAll()
            waiters.resumeAll()
        }.get()
        #expect(told.withLock { $0 } == ["a true", "b true", "c true"])
    }

    @Test func `whose patience is over goes, and the others wait on`() async throws {
        let told = Mutexed<[String]>([])
        let store = EventLoopStore(OpenWaiters(eventLoop: self.loop), on: self.loop)
        store.execute { waiters in
            waiters.add(within: .seconds(50)) { isInTime in told.withLock { $0.append("patient \(isInTime)") } }
            waiters.add(within: .milliseconds(1)) { isInTime in told.withLock { $0.append("hasty \(isInTime)") } }
        }
        try await eventually("one has gone") { told.withLock { $0 } == ["hasty false"] }
        store.execute { $0.resumeAll() }
        try await eventually("the other one is resumed") { told.withLock { $0.count } == 2 }
        #expect(told.withLock { $0 } == ["hasty false", "patient true"])
    }

    @Test func `whoever asks a store is answered on its loop, and can give up`() async throws {
        let store = EventLoopStore(Mutexed<[WaitContinuation<String>]>([]), on: self.loop)
        let isOnLoop = await store.ask { _, continuation in
            continuation.resume(returning: self.loop.inEventLoop)
        }
        #expect(isOnLoop)
        let asked = Mutexed(false)
        let task = Task {
            await store.ask { (waiting, continuation: WaitContinuation<String>) in
                waiting.withLock { $0.append(continuation) }
                asked.withLock { $0 = true }
            } cancelled: { waiting in
                let all = waiting.withLock { list in
                    defer { list = [] }
                    return list
                }
                for continuation in all { continuation.resume(returning: "given up") }
            }
        }
        try await eventually("it has asked") { asked.withLock { $0 } }
        task.cancel()
        #expect(await task.value == "given up")
    }
}
