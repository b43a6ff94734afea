import CSupervision
import LockKernel
import Supervision
import TestKit
import Testing

extension ProcessTests {
    // C1, C3
    @Suite struct DeadlineTests {
        private let directory = TemporaryDirectory()

        @Test func `a command that ignores SIGTERM is dead before the deadline`() async throws {
            let (fifo, read) = directory.fifo("out")
            let deadline = ContinuousClock.now + .milliseconds(1000)
            let script = "exec >$0; trap '' TERM; echo ready; sleep 1000 & while :; do sleep 1000; done"
            let supervisor = try await Supervisor.start(
                SupervisedCommand(arguments: ["sh", "-c", script, fifo], environment: [path]),
                deadline: deadline,
                grace: .milliseconds(500),
                terminal: nil
            )
            _ = await read.wait(for: Int32(POLLIN))
            let goneAt = await read.hangUp()
            #expect(goneAt < deadline)
            #expect(goneAt > deadline - .milliseconds(150))
            #expect(await supervisor.end() == .exited(.signalled(SIGKILL), stoppedByWatchdog: true))
            #expect(!csup_group_is_alive(supervisor.group))
        }

        @Test func `one that heeds SIGTERM has the grace to clean up`() async throws {
            let (fifo, read) = directory.fifo("out")
            let started = ContinuousClock.now
            let supervisor = try await supervise(
                ["sh", "-c", "exec >$0; trap 'echo cleaned; exit 4' TERM; while :; do sleep 0.01; done", fifo],
                deadline: .seconds(20),
                grace: .milliseconds(19_700)
            )
            #expect(await supervisor.end() == .exited(.exited(code: 4), stoppedByWatchdog: true))
            #expect(ContinuousClock.now - started < .seconds(10))
            #expect(await read.readToEnd() == "cleaned\n")
        }

        @Test func `a renewed deadline is the one that counts`() async throws {
            let (fifo, read) = directory.fifo("out")
            let supervisor = try await supervise(
                ["sh", "-c", "exec >$0; echo ready; exec sleep 1000", fifo],
                deadline: .seconds(20),
                grace: .milliseconds(500)
            )
            _ = await read.wait(for: Int32(POLLIN))
            let deadline = ContinuousClock.now + .milliseconds(1000)
            supervisor.extend(deadline: deadline)
            let goneAt = await read.hangUp()
            #expect(goneAt >= deadline - .milliseconds(501))
            #expect(goneAt < deadline)
            #expect(await supervisor.end() == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
        }

        @Test func `a command whose time is over is not started`() async throws {
            let file = "\(directory.path)/touched"
            await #expect(throws: SpawnError.tooLate) {
                try await supervise(["touch", file], deadline: .seconds(1), grace: .seconds(1))
            }
            #expect(access(file, F_OK) != 0)
        }

        @Test func `a lost lock stops the command, and SIGKILL follows the grace`() async throws {
            let (fifo, read) = directory.fifo("out")
            let supervisor = try await supervise(
                ["sh", "-c", "exec >$0; trap '' TERM; echo ready; while :; do sleep 1000; done", fifo],
                grace: .milliseconds(100)
            )
            _ = await read.wait(for: Int32(POLLIN))
            supervisor.terminate()
            #expect(await supervisor.end() == .exited(.signalled(SIGKILL), stoppedByWatchdog: true))
        }

        @Test func `a task that was cancelled still waits for the end`() async throws {
            let supervisor = try await supervise(["sleep", "1000"])
            let waiting = Task { await supervisor.end() }
            waiting.cancel()
            supervisor.terminate()
            #expect(await waiting.value == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
        }

        @Test func `a supervisor that nobody holds any more takes its command with it`() async throws {
            let (fifo, read) = directory.fifo("out")
            func startAndForget() async throws -> pid_t {
                let supervisor = try await supervise(["sh", "-c", "exec >$0; echo ready; sleep 1000", fifo])
                _ = await read.wait(for: Int32(POLLIN))
                return supervisor.group
            }
            _ = try await startAndForget()
            #expect(await read.wait(for: Int32(POLLHUP)))
        }

        @Test func `the liveness descriptor is held until the last process is gone`() async throws {
            let (fifo, read) = directory.fifo("out")
            var liveness = Liveness(in: directory)
            let agent = Agent(
                ["--grace", "200"],
                command: ["sh", "-c", "exec >$0; (trap '' TERM; echo ready; sleep 1000; sleep 1000) & wait", fifo],
                liveness: liveness
            )
            _ = await read.wait(for: Int32(POLLIN))
            liveness.listener = nil
            agent.signal(SIGKILL)
            #expect(await liveness.witness.wait(for: Int32(POLLHUP)))
            #expect(read.isHungUp)
        }

        @Test func `a watchdog that is killed takes the command with it, and dlock says so`() async throws {
            let (fifo, read) = directory.fifo("out")
            let script = "exec >$0; trap '' TERM; echo $PPID; sleep 1000 & while :; do sleep 1000; done"
            let supervisor = try await supervise(["sh", "-c", script, fifo])
            _ = await read.wait(for: Int32(POLLIN))
            let watchdog = try #require(pid_t(await read.readLine()))
            kill(watchdog, SIGKILL)
            #expect(await supervisor.end() == .watchdogDied)
            #expect(read.isHungUp)
        }

        @Test func `a watchdog that is stopped does not save the command`() async throws {
            let (fifo, read) = directory.fifo("out")
            let script = "exec >$0; trap '' TERM; echo $PPID; while :; do sleep 1000; done"
            let supervisor = try await supervise(
                ["sh", "-c", script, fifo], deadline: .seconds(2), grace: .milliseconds(400))
            let deadline = ContinuousClock.now + .seconds(2)
            _ = await read.wait(for: Int32(POLLIN))
            let watchdog = try #require(pid_t(await read.readLine()))
            try stopProcess(watchdog)
            let end = await supervisor.end()
            #expect(end == .exited(.signalled(SIGKILL), stoppedByWatchdog: true))
            #expect(ContinuousClock.now - deadline < .seconds(5))
        }

        @Test func `the watchdog is not killed with dlock by name, nor by what is sent to its group`() async throws {
            let script = "cat /proc/$PPID/comm; tr -d '\\0' </proc/$PPID/cmdline; echo; exec sleep 1000"
            let agent = Agent(command: ["sh", "-c", script])
            let group = await agent.waitForStart()
            #expect(await agent.output.readLine() == "lock-watchdog")
            #expect(await agent.output.readLine() == "lock-watchdog")
            agent.signal(SIGKILL)
            #expect(await isGone(group))
        }
    }
}
