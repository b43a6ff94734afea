import ArgumentParser
import DistributedLocks
import LockURLs

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows who holds and who waits for a lock, or for all locks.",
        discussion: """
            Shows the holder with its fencing token and the rest of its lease, and
            the waiters in the order in which they will be served. A lock that
            nobody holds is no error. What is shown may have changed by the time you
            read it: never decide by it whether to write.

            Exit codes: 0 it is shown, 64 wrong usage, 69 the backend cannot be used,
            74 standard output cannot be written.
            """
    )

    @OptionGroup var backend: BackendOptions

    @Flag(help: "Writes JSON. Tokens are strings there, because they do not fit JavaScript's numbers.")
    var json = false

    @Argument(help: "The lock's name. Without it: all locks that are held or waited for.")
    var name: String?

    func run() async throws {
        do {
            let backend = try self.backend.makeBackend()
            let locks = try await withLockClient(backend) { client in
                if let name = self.name { return [try await client.status(of: name)] }
                return try await client.statusOfAll()
            }
            if self.json {
                Console.print(try StatusReport.json(locks, of: backend))
            } else {
                Console.print(StatusReport.text(locks))
            }
        } catch let error as LockError {
            throw Failure(error)
        }
    }
}
