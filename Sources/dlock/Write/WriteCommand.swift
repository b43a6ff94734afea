import ArgumentParser
import DistributedLocks
import Fencing
import Foundation
import Supervision

struct WriteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "write",
        abstract: "Replaces a file with standard input, unless a later holder wrote it.",
        usage: "dlock write [<options>] <file>",
        discussion: """
            A command that was paused for too long may have lost its lock, and
            another may be at work already. This refuses what comes too late: each
            lock that is granted has a number, its fencing token, higher than the
            one before, and the file remembers the highest one that it was written
            with (in .FILE.fence beside it).

              dlock run report -- sh -c './report.sh > new && dlock write report.csv < new'

            Under 'dlock run' the token is known from the environment
            (DLOCK_FENCING_TOKEN, DLOCK_TOKEN_DOMAIN). The file is replaced in one
            step, when all of standard input was read and is on the disk: others see
            the old contents or the new ones, never a part. It keeps its mode. As
            nobody can tell a program that failed from one that had no more to say,
            write the output to a file first, as above, and replace the real one
            only if the program succeeded.

            If the lock was moved to another kind of backend (from Redis to
            ZooKeeper, say), tokens cannot be compared any more, and all are refused
            until one is given with --adopt.

            Exit codes: 0 the file was replaced. 64 wrong usage, or no token. 73 the
            file or its fence cannot be read or written. 80 refused: a later holder
            has been here, or the token is of another domain; the file is as it was.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Where the highest token is kept, if not in .FILE.fence beside the file.",
            discussion: "Files that are written under one lock may share one.",
            valueName: "file"
        ),
        completion: .file()
    )
    var fence: String?

    @Option(help: ArgumentHelp("The token, if not that of DLOCK_FENCING_TOKEN.", valueName: "number"))
    var token: String?

    @Option(help: ArgumentHelp("Where the token comes from, if not DLOCK_TOKEN_DOMAIN.", valueName: "name"))
    var domain: String?

    @Flag(help: "Accepts a token of another domain than before, and refuses the former domain's from now on.")
    var adopt = false

    @Argument(help: "The file that is replaced. Its folder must exist.", completion: .file())
    var file: String

    func run() throws {
        let stamp = try self.stamp()
        // `dlock run` sends SIGTERM when the lock is lost: what is not finished is of no use to anybody.
        TerminationSignals.beforeDeath { TemporaryFile.discardAll() }
        do {
            let file = try FencedFile(
                path: PathBytes(RawText.bytes(self.file)),
                fencePath: self.fence.map { PathBytes(RawText.bytes($0)) }
            )
            try file.replace(stamp, adopting: self.adopt) { try Self.copyInput(to: $0) }
        } catch let refusal as FenceRefusal {
            throw Failure(status: ExitStatus.fenced, message: Self.message(refusal, file: self.file))
        } catch let error as FencedFileError {
            throw Failure(status: ExitStatus.cannotWrite, message: "cannot write \(error)")
        }
    }

    private func stamp() throws -> FencingStamp {
        guard let text = self.token ?? Self.variable("DLOCK_FENCING_TOKEN") else {
            throw Failure(
                status: ExitStatus.usage,
                message: "there is no fencing token: run this under 'dlock run', or give --token"
            )
        }
        guard let token = FencingToken(text) else {
            throw Failure(
                status: ExitStatus.usage,
                message: "'\(text)' is no fencing token: a token is a positive 64-bit number in decimal digits"
            )
        }
        let domain = self.domain ?? Self.variable("DLOCK_TOKEN_DOMAIN") ?? TokenDomain.clock.rawValue
        let stamp = FencingStamp(token, domain: TokenDomain(rawValue: domain))
        do {
            try stamp.check()
        } catch {
            throw Failure(status: ExitStatus.usage, message: error.message)
        }
        return stamp
    }

    private static func variable(_ name: String) -> String? {
        EnvironmentText.value(name).flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func message(_ refusal: FenceRefusal, file: String) -> String {
        switch refusal.reason {
        case .stale:
            "'\(file)' is as it was: the fencing token \(refusal.presented.token) is stale, a later holder "
                + "(\(refusal.highest.token)) has been here"
        case .otherDomain:
            "'\(file)' is as it was: the token is of the domain '\(refusal.presented.domain)', the file was written under "
                + "'\(refusal.highest.domain)'; if its lock was moved to another backend, give --adopt once"
        }
    }

    private static func copyInput(to descriptor: Int32) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Console.read(into: &buffer)
            guard count >= 0 else { throw Self.failure("standard input cannot be read") }
            if count == 0 { return }
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else { throw Self.failure("the new contents cannot be written") }
                rest = rest.dropFirst(written)
            }
        }
    }

    private static func failure(_ what: String) -> Failure {
        Failure(status: ExitStatus.cannotWrite, message: "\(what): \(String(cString: strerror(errno)))")
    }
}
