import LockKernel
import LockTransport
import NIOCore
import NIOPosix
import TestKit
import Testing

@Suite(.timeLimit(.minutes(1))) struct EventLoopStoreTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

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
