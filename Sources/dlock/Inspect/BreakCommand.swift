import ArgumentParser
import DistributedLocks
import Foundation
import LockKernel
import LockURLs

struct BreakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "break",
        abstract: "Takes a lock from its holder.",
        discussion: """
            The holder is told at once: its command is ended, its grant is lost. The
            next one is granted the lock when the holder has let go, or when its
            lease has passed. Fencing tokens go on rising.

            With --now the next one is granted the lock at once. Until the old lease
            has passed two may then believe to hold it, and only a resource that
            checks fencing tokens is safe.

            A holder that is another program, which took the lock past dlock, cannot
            be told. Then nothing is done without --now.

            Exit codes: 0 the lock was broken, 1 nobody held it, 64 wrong usage, 69
            the backend cannot be used, or the holder cannot be told.
            """
    )

    @OptionGroup var backend: BackendOptions

    @Flag(help: "Grants the lock to the next one without waiting for the holder.")
    var now = false

    @Flag(help: "Does not ask.")
    var yes = false

    @Argument(help: "The lock's name.")
    var name: String

    func run() async throws {
        do {
            let name = try LockName(self.name)
            let backend = try self.backend.makeBackend()
            let reply = try await withLockClient(backend) { client -> BreakReply in
                if !self.yes {
                    let status = try await client.status(of: name)
                    guard status.holder != nil else { return .notHeld }
                    try self.ask(status)
                }
                return try await client.breakLock(name, immediately: self.now)
            }
            switch reply {
            case .notHeld:
                throw Failure(status: ExitStatus.notHeld, message: "nobody holds '\(name)'")
            case .broken(let holder):
                let who = holder.map { " of \($0)" } ?? ""
                let what = self.now ? "taken from its holder" : "broken: its holder was told to let go"
                Console.print("the lock '\(name.rawValue.harmless)'\(who) was \(what)")
            case .cannotBeTold(let remainingLease):
                let end = remainingLease.map { "its lease ends in \($0.brief)" } ?? "no end of its lease is known"
                throw Failure(
                    status: ExitStatus.unavailable,
                    message:
                        "the lock '\(name)' was not broken: its holder is another program, which cannot be told to let go; "
                        + "\(end), and --now takes the lock away at once"
                )
            }
        } catch let error as LockError {
            throw Failure(error)
        }
    }

    private func ask(_ status: LockStatus) throws {
        guard isatty(0) == 1 else {
            throw Failure(status: ExitStatus.usage, message: "there is nobody to ask: add --yes to break the lock")
        }
        let danger = self.now ? " Two may hold it until the old lease has passed." : ""
        Console.print(StatusReport.text([status]))
        Console.print("Break the lock '\(status.name.rawValue.harmless)'?\(danger) [y/N] ", terminator: "")
        guard let answer = Console.readLine(), ["y", "yes"].contains(answer.lowercased()) else {
            throw Failure(status: ExitStatus.usage, message: "the lock was not broken")
        }
    }
}
