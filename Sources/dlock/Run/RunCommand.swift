import ArgumentParser
import DistributedLocks
import Foundation
import Supervision

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        // So that it can be parsed by itself (see Dlock.parse) without being asked for shell completions first.
        _superCommandName: "dlock",
        abstract: "Runs a command while holding a lock.",
        usage: "dlock run [<options>] <name> -- <command> ...",
        discussion: """
            Waits for the lock, runs the command, and releases the lock when the
            command has ended. The command never outlives its lock: if the lock is
            lost, or if dlock itself is killed or stopped, the command and its
            process group are ended (SIGTERM, then SIGKILL) before anybody else is
            granted the lock.

              dlock run backup -- pg_dump -f backup.sql shop
              dlock run --wait 10s deploy -- sh -c 'echo "token $DLOCK_FENCING_TOKEN"'
              dlock run --no-wait cron-job -- ./job.sh || [ $? = 75 ]

            The command sees DLOCK_NAME, DLOCK_FENCING_TOKEN, DLOCK_TOKEN_DOMAIN and
            DLOCK_BACKEND. What it leaves running in its process group ends with it;
            a daemon that made a session of its own does not.

            A name that begins with a dash stands after a -- of its own:

              dlock run -- -name -- ./job.sh

            Exit codes: the command's own, or 128 + n if signal n ended it. 64 wrong
            usage, name or URL. 69 the backend cannot be used. 75 the lock was not
            granted in the time given. 79 the lock was lost and the command ended.
            126 the command cannot be run, 127 it was not found.
            """
    )

    @OptionGroup var backend: BackendOptions

    @Option(
        help: ArgumentHelp(
            "How long the lock lasts unless renewed: the longest time for which a dead holder blocks others.",
            discussion: "Written as in 500ms, 10s, 5m.",
            valueName: "duration"
        )
    )
    var lease = DurationArgument(.seconds(30))

    @Option(help: ArgumentHelp("How long to wait for the lock. Without it: for ever.", valueName: "duration"))
    var wait: DurationArgument?

    @Flag(help: "Do not wait: give up at once if the lock is held.")
    var noWait = false

    @Option(help: ArgumentHelp("End the command after this time.", valueName: "duration"))
    var maxHold: DurationArgument?

    @Option(help: ArgumentHelp("The exit code when the lock was not granted.", valueName: "code"))
    var busyExitCode: Int32 = ExitStatus.busy

    @Option(help: ArgumentHelp("What 'dlock status' says of this holder, besides host and process.", valueName: "text"))
    var label: String?

    @Argument(help: "The lock's name: 1 to 512 bytes, such as inventory/42.")
    var name: String?

    @Argument(
        parsing: .postTerminator,
        help: "After --: the command and its arguments.",
        completion: .file()
    )
    var command: [String] = []

    mutating func validate() throws {
        if self.name == nil, self.command.dropFirst().first == "--" {
            self.name = self.command[0]
            self.command.removeFirst(2)
        }
        guard let name = self.name else {
            throw ValidationError("no lock's name: write it before --, as in: dlock run NAME -- COMMAND")
        }
        guard !self.command.isEmpty else {
            throw ValidationError("no command: write it after --, as in: dlock run \(Self.shown(name)) -- true")
        }
        if self.noWait && self.wait != nil {
            throw ValidationError("--wait and --no-wait exclude each other: use one of them")
        }
        if let wait, wait.duration <= .zero {
            throw ValidationError("--wait must be more than 0; use --no-wait to not wait at all")
        }
        if let maxHold, maxHold.duration <= .zero {
            throw ValidationError("--max-hold must be more than 0, as in --max-hold 1h")
        }
        guard (0...255).contains(self.busyExitCode) else {
            throw ValidationError("--busy-exit-code is a number from 0 to 255, not \(self.busyExitCode)")
        }
    }

    func run() async throws {
        let session = try RunSession(self)
        let end = try await session.run()
        end.exit()
    }

    private static func shown(_ name: String) -> String {
        (try? LockName(name)) == nil ? "NAME" : name
    }
}
