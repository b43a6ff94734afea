import LockKernel
import Supervision
import TestKit
import Testing

extension ProcessTests {
    /// dlock is killed or stopped at any instant. Each of its command's processes holds a FIFO open, and the backend's
    /// liveness descriptor must not be let go while one does.
    // C1, C2
    @Suite struct DlockDeathTests {
        /// Stubborn, and with a child that is too.
        private static let script = "exec >$0; trap '' TERM; echo ready; sleep 1000 & while :; do sleep 1000; done"

        /// Spread over the time that it takes to start a command, which is about a millisecond.
        @Test func `the command does not outlive a dlock that is killed while it starts it`() async throws {
            try await inLanes { lane in
                for step in 0..<50 {
                    try await killAgent(after: .microseconds(step * 60 + lane * 15), waitingFor: "starting")
                }
            }
        }

        @Test func `the command does not outlive a dlock that is killed while it runs`() async throws {
            try await inLanes { lane in
                for step in 0..<10 {
                    try await killAgent(after: .microseconds(step * 200 + lane * 50), waitingFor: "started")
                }
            }
        }

        private func inLanes(_ body: @escaping @Sendable (Int) async throws -> Void) async throws {
            try await withThrowingTaskGroup(of: Void.self) { lanes in
                for lane in 0..<4 { lanes.addTask { try await body(lane) } }
                try await lanes.waitForAll()
            }
        }

        private func killAgent(after delay: Duration, waitingFor report: String) async throws {
            let directory = TemporaryDirectory()
            let (fifo, read) = directory.fifo("out")
            var liveness = Liveness(in: directory)
            let agent = Agent(["--grace", "20"], command: ["sh", "-c", Self.script, fifo], liveness: liveness)
            liveness.listener = nil
            await agent.waitForReport(report)
            try await Task.sleep(for: delay)
            agent.signal(SIGKILL)
            #expect(await liveness.witness.wait(for: Int32(POLLHUP)), "the liveness descriptor was never released")
            // Without any writer: it never had one, or the last is gone.
            #expect(read.hasNoWriter, "killed after \(delay): the liveness descriptor was released too early")
            #expect(await agent.output.wait(for: Int32(POLLHUP)), "a process of the command is left")
        }

        @Test func `the command of a dlock that was stopped is dead before the deadline`() async throws {
            try await inLanes { lane in try await stopAgent(after: .milliseconds(lane * 17)) }
        }

        private func stopAgent(after delay: Duration) async throws {
            let directory = TemporaryDirectory()
            let (fifo, read) = directory.fifo("out")
            let agent = Agent(
                ["--deadline", "1000", "--grace", "500", "--renew", "50"],
                command: ["sh", "-c", Self.script, fifo]
            )
            let group = await agent.waitForStart()
            _ = await read.wait(for: Int32(POLLIN))
            try await Task.sleep(for: delay)
            try stopProcess(agent.pid)
            let deadline = ContinuousClock.now + .milliseconds(1000)
            let goneAt = await read.hangUp()
            #expect(goneAt < deadline)
            #expect(await isGone(group))
            agent.signal(SIGCONT)
            #expect(await agent.exitCode == 79)
        }

        @Test func `the command of a dlock that dies while it is stopped dies with it`() async throws {
            let directory = TemporaryDirectory()
            let (fifo, read) = directory.fifo("out")
            let agent = Agent(["--grace", "50"], command: ["sh", "-c", Self.script, fifo])
            _ = await agent.waitForStart()
            _ = await read.wait(for: Int32(POLLIN))
            try stopProcess(agent.pid)
            agent.signal(SIGKILL)
            #expect(await read.wait(for: Int32(POLLHUP)))
        }
    }
}
