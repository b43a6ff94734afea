import CSupervision
import LockKernel
import Supervision
import Testing

extension ProcessTests {
    @Suite struct CommandTests {
        @Test(arguments: [0, 1, 3, 126, 255])
        func `the exit code is the command's`(code: Int32) async throws {
            #expect(
                try await run(["sh", "-c", "exit \(code)"]) == .exited(.exited(code: code), stoppedByWatchdog: false))
        }

        @Test(arguments: [SIGTERM, SIGKILL, SIGINT, SIGUSR1])
        func `a command that dies by a signal shows it`(signal: Int32) async throws {
            let event = try await run(["sh", "-c", "kill -\(signal) $$"])
            #expect(event == .exited(.signalled(signal), stoppedByWatchdog: false))
            #expect(CommandStatus.signalled(signal).exitCode == 128 + signal)
        }

        @Test func `a command that is not there is reported as such`() async throws {
            await #expect(throws: SpawnError.notExecutable(errno: ENOENT)) { try await run(["no-such-command"]) }
            await #expect(throws: SpawnError.notExecutable(errno: ENOENT)) { try await run(["/no/such/command"]) }
            await #expect(throws: SpawnError.notExecutable(errno: ENOENT)) { try await run([""]) }
            await #expect(throws: SpawnError.notExecutable(errno: ENOTDIR)) { try await run(["/etc/passwd/command"]) }
        }

        @Test func `a file that may not be executed is reported as such`() async throws {
            let directory = TemporaryDirectory()
            let file = directory.file("plain", "#!/bin/sh\n")
            await #expect(throws: SpawnError.notExecutable(errno: EACCES)) { try await run([file]) }
            await #expect(throws: SpawnError.notExecutable(errno: EACCES)) { try await run([directory.path]) }
            // Found later in the PATH, it is not what counts.
            let environment = [(name: "PATH", value: directory.path)]
            await #expect(throws: SpawnError.notExecutable(errno: EACCES)) {
                try await run(["plain"], environment: environment)
            }
        }

        @Test func `the search goes on after a file that may not be executed`() async throws {
            let directory = TemporaryDirectory()
            _ = directory.file("true", "nothing")
            let environment = [(name: "PATH", value: "/nowhere:\(directory.path)/true:\(directory.path):/usr/bin:/bin")]
            let event = try await run(["true"], environment: environment)
            #expect(event == .exited(.exited(code: 0), stoppedByWatchdog: false))
        }

        @Test func `a script without an interpreter line is run by the shell`() async throws {
            let directory = TemporaryDirectory()
            let script = directory.file("script", "exit $1\n", mode: 0o755)
            #expect(try await run([script, "7"]) == .exited(.exited(code: 7), stoppedByWatchdog: false))
        }

        @Test func `the environment is the one given and no other`() async throws {
            let agent = Agent(command: ["env", "-i", "A=1", Agent.path, "--supervise", "--", "/usr/bin/env"])
            let output = await agent.output.readToEnd()
            #expect(output.split(separator: "\n").contains("A=1"))
            #expect(!output.contains("PATH="))
        }

        @Test func `output reaches its reader, and ends with the command`() async {
            let agent = Agent(command: ["sh", "-c", "echo one; echo two"])
            #expect(await agent.output.readToEnd() == "one\ntwo\n")
            #expect(await agent.exitCode == 0)
        }

        @Test func `the watchdog does not hold the command's input and output open`() async throws {
            let directory = TemporaryDirectory()
            let (fifo, read) = directory.fifo("out")
            // The command lets go of the FIFO and lives on for the whole grace after dlock, the other one to have it, is
            // dead. So the watchdog lives on too.
            let agent = Agent(
                ["--grace", "20000"],
                command: ["sh", "-c", "trap '' TERM; echo ready; exec <&- >&- 2>&-; while :; do sleep 1000; done"],
                wrapper: ["sh", "-c", #"exec <>"$0" >"$0" 2>&1; exec "$@""#, fifo]
            )
            let group = await agent.waitForStart()
            #expect(await read.readLine() == "ready")
            agent.signal(SIGKILL)
            #expect(await read.wait(for: Int32(POLLHUP), atMost: .seconds(10)))
            #expect(csup_group_is_alive(group))
            csup_kill_group(group, -1)
            #expect(await isGone(group))
        }

        @Test func `input is the command's own`() async throws {
            let directory = TemporaryDirectory()
            let file = directory.file("input", "hello\n")
            let agent = Agent(command: ["cat"], input: file)
            #expect(await agent.output.readToEnd() == "hello\n")
        }

        @Test func `a closed input stays closed, and no descriptor takes its place`() async throws {
            let agent = Agent(
                command: ["sh", "-c", "[ -e /proc/$$/fd/0 ] || echo closed"],
                input: nil,
                liveness: Liveness(in: TemporaryDirectory())
            )
            #expect(await agent.output.readToEnd() == "closed\n")
        }

        @Test func `descriptors that the user passes on reach the command, those of dlock do not`() async throws {
            let directory = TemporaryDirectory()
            let file = directory.file("input", "from nine\n")
            let list =
                "fd=0; while [ $fd -lt 300 ]; do [ -e /proc/$$/fd/$fd ] && printf '%s ' $fd; fd=$((fd + 1)); done; echo"
            let agent = Agent(
                command: ["sh", "-c", "\(list); cat <&9"],
                wrapper: ["sh", "-c", #"exec 9<"$0"; \#(list); exec "$@""#, file],
                liveness: Liveness(in: directory)
            )
            let before = await agent.output.readLine().split(separator: " ")
            let after = await agent.output.readLine().split(separator: " ")
            #expect(before.contains("4") && before.contains("9"))
            #expect(after == before.filter { $0 != "4" }, "4 is the liveness descriptor")
            #expect(await agent.output.readToEnd() == "from nine\n")
        }

        @Test func `signals are passed on to the command`() async {
            let agent = Agent(command: [
                "sh", "-c",
                "trap 'echo int' INT; trap 'echo usr; exit 9' USR1; echo ready; while :; do sleep 0.01; done",
            ])
            #expect(await agent.output.readLine() == "ready")
            agent.signal(SIGINT)
            #expect(await agent.output.readLine() == "int")
            agent.signal(SIGUSR1)
            #expect(await agent.output.readLine() == "usr")
            #expect(await agent.exitCode == 9)
        }

        @Test(arguments: ["", "trap '' HUP;", "trap '' INT QUIT TSTP CHLD;"])
        func `what was ignored at the start is ignored by the command, and nothing else`(ignoring: String) async {
            // Without the numbers above 31: the C library keeps 32 and 33 for itself.
            let show = "sed -nE 's/(SigBlk|SigIgn):.*(.{8})/\\1 \\2/p' /proc/self/status | tr '\\n' ' '; echo"
            let agent = Agent(
                command: ["sh", "-c", show],
                wrapper: ["sh", "-c", #"\#(ignoring) \#(show); exec "$@""#, "sh"]
            )
            let before = await agent.output.readLine()
            #expect(before.contains("SigBlk 00000000 SigIgn"))
            #expect(await agent.output.readLine() == before)
            #expect(await agent.exitCode == 0)
        }

        @Test func `a hang-up that was ignored at the start stops neither dlock nor the command`() async {
            let agent = Agent(
                command: ["sh", "-c", "echo ready; kill -HUP $PPID; kill -HUP $$; echo alive"],
                wrapper: ["sh", "-c", #"trap '' HUP; exec "$@""#, "sh"]
            )
            _ = await agent.waitForStart()
            agent.signal(SIGHUP)
            #expect(await agent.output.readToEnd() == "ready\nalive\n")
            #expect(await agent.exitCode == 0)
        }
    }
}
