import ArgumentParser
import Foundation
import Supervision

@main
struct Dlock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlock",
        abstract: "Runs commands under a distributed lock.",
        discussion: """
            A lock keeps two machines, or two processes, from doing the same thing
            at once. Each time a lock is granted it comes with a fencing token, a
            number that rises with every grant: hand it to what you protect, and
            have it refuse a lower one than it has seen.

              dlock run nightly-report -- ./report.sh
              dlock status nightly-report

            Without --backend, and without DLOCK_BACKEND in the environment, locks
            are kept in a file of your own on this host. They then guard one user on
            one host.
            """,
        version: "0.1.0",
        subcommands: [
            RunCommand.self, WriteCommand.self, StatusCommand.self, BreakCommand.self, InitCommand.self,
            ScriptsCommand.self, BenchCommand.self, BenchWorkerCommand.self, BenchCyclesCommand.self,
        ]
    )

    @concurrent
    static func main() async {
        // Arguments are bytes; the parser takes strings.
        var arguments = Caller.arguments.map(RawText.string)
        Caller.hidePasswords()
        if arguments.isEmpty { arguments = ["--help"] }
        do {
            try Self.makeRoomForDescriptors()
            try UsageMessages.checkBeforeParsing(arguments)
            var command = try Self.parse(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            Self.end(with: error, arguments: arguments)
        }
        if let failure = Console.failure() { Self.end(with: failure, arguments: arguments) }
    }

    /// What a client and its backend open at most, with some to spare.
    private static let descriptorsNeeded = 48

    /// Libraries that find none left end the process.
    private static func makeRoomForDescriptors() throws {
        guard !Caller.makeRoom(forDescriptors: Self.descriptorsNeeded) else { return }
        throw Failure(
            status: ExitStatus.unavailable,
            message: "too few file descriptors may be open: dlock needs \(Self.descriptorsNeeded) besides the "
                + "\(Caller.descriptorCount) that it was given (see ulimit -n)"
        )
    }

    /// Reads the arguments.
    ///
    /// `dlock run` is what scripts call again and again. Read by itself, without the other commands and what is built in,
    /// it starts about a millisecond sooner. Whatever is wrong, or no ordinary `run` (`--help`), is read with everything,
    /// which knows what to say.
    private static func parse(_ arguments: [String]) throws -> any ParsableCommand {
        if arguments.first == RunCommand.configuration.commandName,
            let run = try? RunCommand.parseAsRoot(Array(arguments.dropFirst())) as? RunCommand
        {
            return run
        }
        return try Self.parseAsRoot(arguments)
    }

    /// Wrong usage is one line that says what is wrong, and exit code 64. What was asked for (`--help`) goes to standard
    /// output.
    private static func end(with error: any Error, arguments: [String]) -> Never {
        if let failure = error as? Failure {
            Console.complain(failure.message)
            Foundation.exit(failure.status)
        }
        let code = Self.exitCode(for: error)
        switch code {
        case .success:
            let text = Self.fullMessage(for: error)
            if !text.isEmpty { Console.print(text) }
            if let failure = Console.failure() { Self.end(with: failure, arguments: arguments) }
            Foundation.exit(0)
        case .validationFailure:
            Console.complain(UsageMessages.line(Self.message(for: error), arguments: arguments))
            Foundation.exit(ExitStatus.usage)
        default:
            Console.complain(Self.message(for: error))
            Foundation.exit(code.rawValue)
        }
    }
}

/// The exit codes, those of sysexits.h where one fits.
enum ExitStatus {
    static let notHeld: Int32 = 1
    static let usage: Int32 = 64
    static let unavailable: Int32 = 69
    static let cannotWrite: Int32 = 73
    static let ioError: Int32 = 74
    static let busy: Int32 = 75
    static let lost: Int32 = 79
    static let fenced: Int32 = 80
    static let notExecutable: Int32 = 126
    static let notFound: Int32 = 127
}

/// Ends the command with a message and an exit code.
struct Failure: Error {
    let status: Int32
    let message: String
}
