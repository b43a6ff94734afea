import CSupervision
import LockKernel
import Supervision
import Testing

extension ProcessTests {
    /// Which processes end with the command. Each writes to a FIFO, whose end shows that it is gone.
    // C3
    @Suite struct GroupTests {
        private let directory = TemporaryDirectory()

        private static let ok = Supervisor.Event.exited(.exited(code: 0), stoppedByWatchdog: false)

        /// Runs a script whose `$0` is the FIFO, and `$1` another one for it to wait on; returns at the end of all of it.
        private func runToEnd(_ script: String, deadline: Duration = .seconds(60), grace: Duration) async throws
            -> (event: Supervisor.Event?, output: String)
        {
            let (fifo, read) = directory.fifo("out")
            let ready = directory.fifo("ready").path
            let supervisor = try await supervise(["sh", "-c", script, fifo, ready], deadline: deadline, grace: grace)
            let event = await supervisor.end()
            #expect(read.isHungUp, "the end was reported before the last process was gone")
            #expect(!csup_group_is_alive(supervisor.group))
            return (event, await read.readToEnd())
        }

        @Test func `a background process that the command leaves in its group ends with it`() async throws {
            let started = ContinuousClock.now
            let (event, _) = try await runToEnd("exec >$0; sleep 1000 & exit 0", grace: .seconds(20))
            #expect(event == Self.ok)
            #expect(ContinuousClock.now - started < .seconds(20), "SIGTERM would have done")
        }

        @Test func `one that ignores SIGTERM is killed when the grace is over`() async throws {
            let (event, output) = try await runToEnd(
                """
                exec >$0 8<>$1
                (trap '' TERM; echo out; echo ready >&8; sleep 1000; sleep 1000) &
                read line <&8
                """,
                grace: .milliseconds(100)
            )
            #expect(event == Self.ok)
            #expect(output == "out\n")
        }

        @Test(arguments: ["setpgid", "timeout", "shell jobs"])
        func `one that left the group but not the session ends with it`(way: String) async throws {
            let leave =
                switch way {
                case "setpgid":
                    #"python3 -c 'import os,time; os.setpgid(0,0); print("out", flush=True); os.write(8, b"ready\n"); time.sleep(1000)'"#
                case "timeout":
                    "timeout 1000 sh -c 'echo out; echo ready >&8; sleep 1000'"
                default:
                    "bash -c 'set -m; (trap \"\" TERM; echo out; echo ready >&8; sleep 1000; sleep 1000) & wait'"
                }
            let (event, output) = try await runToEnd(
                "exec >$0 8<>$1; { \(leave); } & read line <&8; exit 0",
                grace: .milliseconds(200)
            )
            #expect(event == Self.ok)
            #expect(output == "out\n")
        }

        @Test func `a daemon that left the session survives`() async throws {
            let (fifo, read) = directory.fifo("out")
            let supervisor = try await supervise([
                "sh", "-c", "setsid sh -c 'echo $$ >$0; exec sleep 1000 >$0' $0 & wait", fifo,
            ])
            _ = await read.wait(for: Int32(POLLIN))
            let daemon = try #require(pid_t(await read.readLine()))
            supervisor.terminate()
            #expect(await supervisor.end() == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
            #expect(kill(daemon, 0) == 0)
            #expect(!read.isHungUp)
            kill(daemon, SIGKILL)
            #expect(await read.wait(for: Int32(POLLHUP)))
        }

        @Test func `a daemon whose child stayed in the group does not keep the command from ending`() async throws {
            // The daemon never reaps its child, so the child's zombie stays in the group.
            let script = """
                import os, sys, time
                group = os.open(sys.argv[1], os.O_WRONLY)
                daemon = os.fork()
                if daemon == 0:
                    if os.fork() == 0:
                        time.sleep(1000)
                    os.setsid()
                    os.close(group)
                    with open(sys.argv[2], "w") as line:
                        line.write("%d\\n" % os.getpid())
                    time.sleep(1000)
                time.sleep(1000)
                """
            let (group, read) = directory.fifo("group")
            let (line, number) = directory.fifo("line")
            let supervisor = try await supervise(["python3", "-c", script, group, line], grace: .milliseconds(200))
            _ = await number.wait(for: Int32(POLLIN))
            // By now the daemon has closed the other one: only those in the group have it.
            let daemon = try #require(pid_t(await number.readLine()))
            supervisor.terminate()
            #expect(await supervisor.end() == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
            #expect(read.isHungUp)
            #expect(kill(daemon, SIGKILL) == 0)
        }

        @Test func `orphans of a living command are reaped`() async throws {
            let (fifo, read) = directory.fifo("out")
            let supervisor = try await supervise(
                ["sh", "-c", "exec 5>$0; (sh -c 'echo $$ >&5' &); exec sleep 1000", fifo],
                grace: .milliseconds(200)
            )
            _ = await read.wait(for: Int32(POLLIN))
            let orphan = try #require(pid_t(await read.readLine()))
            while kill(orphan, 0) == 0 { await Task.yield() }
            supervisor.terminate()
            #expect(await supervisor.end() == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
        }

        @Test func `a stopped command is stopped for good when its time comes`() async throws {
            let (event, _) = try await runToEnd(
                "exec >$0; sleep 1000 & kill -STOP $$",
                deadline: .milliseconds(400),
                grace: .milliseconds(200)
            )
            #expect(event == .exited(.signalled(SIGTERM), stoppedByWatchdog: true))
        }
    }
}
