import LockKernel
import Supervision
import Testing

extension ProcessTests {
    /// An interactive shell with job control on a terminal, in which a user types.
    // C4
    @Suite(.enabled(if: access("/bin/bash", X_OK) == 0))
    struct TerminalTests {
        private let terminal = PseudoTerminal()
        private let directory = TemporaryDirectory()

        private static let controlC = "\u{03}"
        private static let controlZ = "\u{1A}"

        private func startShell() async -> Agent {
            let shell = Agent(shell: ["bash", "--norc", "--noprofile", "--noediting", "-i"], terminal: terminal.path)
            terminal.type("unset PROMPT_COMMAND; PS1='pro''mpt '; agent=\(Agent.path)\n")
            await terminal.waitFor("prompt ")
            return shell
        }

        private func endShell(_ shell: Agent) async {
            terminal.type("exit 0\n")
            #expect(await shell.exitCode == 0)
        }

        @Test func `the command is in the foreground, and the terminal is given back`() async {
            let shell = await startShell()
            terminal.type(
                "$agent --supervise -- sh -c 'echo group $(ps -o pgid= -p $$) fore''ground $(ps -o tpgid= -p $$) .; read x; echo got-$x'\n"
            )
            await terminal.waitFor("foreground")
            #expect(terminal.foreground != shell.pid)
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            await terminal.waitFor("prompt ")
            #expect(terminal.foreground == shell.pid)
            await endShell(shell)
        }

        @Test func `Ctrl-C reaches the command, which may take its time`() async {
            let shell = await startShell()
            terminal.type(
                "$agent --supervise -- sh -c 'trap \"echo caug''ht; exit 5\" INT; echo rea''dy; while :; do sleep 0.01; done'; echo code-$?\n"
            )
            await terminal.waitFor("ready")
            terminal.type(Self.controlC)
            await terminal.waitFor("caught")
            await terminal.waitFor("code-5")
            await endShell(shell)
        }

        @Test func `Ctrl-C ends a script whose command dies of it`() async {
            let shell = await startShell()
            let script = directory.file(
                "script", "\(Agent.path) --supervise -- sh -c 'echo ready; exec sleep 1000'\necho next line\n")
            terminal.type("bash \(script); echo co''de-$?\n")
            await terminal.waitFor("ready")
            terminal.type(Self.controlC)
            await terminal.waitFor("prompt ")
            terminal.type("echo code-$?\n")
            await terminal.waitFor("code-130")
            await endShell(shell)
        }

        @Test func `Ctrl-C does not end a script whose command handles it`() async {
            let shell = await startShell()
            let script = directory.file(
                "script",
                "\(Agent.path) --supervise -- sh -c 'trap \"exit 0\" INT; echo ready; while :; do sleep 0.01; done'\necho next line\n"
            )
            terminal.type("bash \(script)\n")
            await terminal.waitFor("ready")
            terminal.type(Self.controlC)
            await terminal.waitFor("next line")
            await endShell(shell)
        }

        @Test func `Ctrl-Z stops the job, fg continues it in the foreground`() async {
            let shell = await startShell()
            terminal.type("$agent --supervise -- sh -c 'echo rea''dy; while read x; do echo got-$x; done'\n")
            await terminal.waitFor("ready")
            for round in 1...3 {
                terminal.type(Self.controlZ)
                await terminal.waitFor("Stopped")
                await terminal.waitFor("prompt ")
                #expect(terminal.foreground == shell.pid)
                terminal.type("fg\n")
                await terminal.waitFor("agent --")
                terminal.type("round\(round)\n")
                await terminal.waitFor("got-round\(round)")
            }
            terminal.type("\u{04}")
            await terminal.waitFor("prompt ")
            await endShell(shell)
        }

        @Test func `Ctrl-Z stops a script that runs the command`() async {
            let shell = await startShell()
            let script = directory.file(
                "script", "\(Agent.path) --supervise -- sh -c 'echo ready; read x; echo got-$x'\necho next line\n")
            terminal.type("sh \(script)\n")
            await terminal.waitFor("ready")
            terminal.type(Self.controlZ)
            await terminal.waitFor("Stopped")
            await terminal.waitFor("prompt ")
            terminal.type("fg\n")
            await terminal.waitFor("sh /tmp")
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            await terminal.waitFor("next line")
            await endShell(shell)
        }

        @Test func `bg lets it run in the background, until it wants to read`() async {
            let shell = await startShell()
            terminal.type("$agent --supervise -- sh -c 'echo rea''dy; read x; echo got-$x'\n")
            await terminal.waitFor("ready")
            terminal.type(Self.controlZ)
            await terminal.waitFor("Stopped")
            terminal.type("bg\n")
            await terminal.waitFor("&")
            // bash tells when it looks: at the next prompt.
            var isStopped = false
            while !isStopped {
                terminal.type("jobs; echo e''nd\n")
                isStopped = await terminal.textUntil("end").contains("Stopped")
            }
            terminal.type("fg\n")
            await terminal.waitFor("agent --")
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            await endShell(shell)
        }

        @Test func `a command in a pipeline gets the terminal when it asks for it`() async {
            let shell = await startShell()
            terminal.type("echo piped | $agent --supervise -- sh -c 'cat; read x </dev/tty; echo got-$x' | cat\n")
            await terminal.waitFor("piped")
            await terminal.waitFor("piped")
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            await terminal.waitFor("prompt ")
            await endShell(shell)
        }

        @Test func `Ctrl-Z stops a pipeline, and the command in it`() async {
            let shell = await startShell()
            terminal.type("$agent --supervise -- sh -c 'echo rea''dy; exec sleep 1000' | cat\n")
            await terminal.waitFor("ready")
            terminal.type(Self.controlZ)
            await terminal.waitFor("Stopped")
            await terminal.waitFor("prompt ")
            terminal.type("fg\n")
            await terminal.waitFor("agent --")
            while terminal.foreground == shell.pid { await Task.yield() }
            terminal.type(Self.controlC)
            await terminal.waitFor("prompt ")
            await endShell(shell)
        }

        @Test func `the modes of the terminal are restored after a command that was killed`() async {
            let shell = await startShell()
            terminal.type(
                "$agent --supervise -- sh -c 'stty raw -echo; echo rea''dy; kill -9 $$'; stty -a | grep -o '.icanon'; echo e''nd\n"
            )
            await terminal.waitFor("ready")
            await terminal.waitFor("\u{0A} icanon")
            await terminal.waitFor("end")
            await endShell(shell)
        }

        @Test func `the terminal is given back when dlock is killed`() async {
            let shell = await startShell()
            // The script may only read once it has the terminal back: the watchdog gives it when the command is dead.
            let script = directory.file(
                "script",
                """
                \(Agent.path) --supervise -- sh -c 'echo ready; exec sleep 1000'
                until [ $(ps -o tpgid= -p $$) -eq $(ps -o pgid= -p $$) ]; do :; done
                echo back
                read x
                echo got-$x

                """
            )
            terminal.type("sh \(script)\n")
            await terminal.waitFor("ready")
            let group = terminal.foreground
            kill(parentOfParent(of: group), SIGKILL)
            await terminal.waitFor("back")
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            #expect(await isGone(group))
            await endShell(shell)
        }

        @Test func `nothing of an interactive shell that is the command outlives it`() async {
            let shell = await startShell()
            let (fifo, read) = directory.fifo("out")
            terminal.type("$agent --supervise --deadline 2000 --grace 500 -- bash --norc -i\n")
            terminal.type("(trap '' TERM HUP; echo rea''dy >\(fifo); exec >\(fifo); sleep 1000; sleep 1000)\n")
            _ = await read.wait(for: Int32(POLLIN))
            #expect(await read.readLine() == "ready")
            _ = await read.hangUp()
            await terminal.waitFor("prompt ")
            #expect(terminal.foreground == shell.pid)
            await endShell(shell)
        }

        @Test func `without a shell that could continue it, Ctrl-Z does not stop it`() async {
            let agent = Agent(command: ["sh", "-c", "echo ready; read x; echo got-$x"], terminal: terminal.path)
            await terminal.waitFor("ready")
            terminal.type(Self.controlZ)
            await agent.waitForReport("resumed")
            terminal.type("abc\n")
            await terminal.waitFor("got-abc")
            #expect(await agent.exitCode == 0)
        }

        @Test func `the command gets the hang-up when the terminal goes away`() async {
            let (fifo, read) = directory.fifo("out")
            let shell = await startShell()
            terminal.type(
                "exec $agent --supervise -- sh -c 'exec >\(fifo); trap \"echo hung up; exit\" HUP; echo ready; while :; do sleep 0.01; done'\n"
            )
            _ = await read.wait(for: Int32(POLLIN))
            #expect(await read.readLine() == "ready")
            terminal.hangUp()
            #expect(await read.readLine() == "hung up")
            _ = await shell.exitCode
        }
    }
}
