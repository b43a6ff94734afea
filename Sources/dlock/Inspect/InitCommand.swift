import ArgumentParser
import DistributedLocks
import LockURLs

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Prepares a backend that needs it.",
        discussion: """
            redlock: opens the instances of a first installation at once. An
            instance of a Redlock that is new, or has restarted, grants nothing
            until the longest lease is over, because it may have forgotten what it
            granted. A first installation has nothing to forget: if none of the
            instances was ever used, this opens them all; otherwise it changes
            nothing.

            redis+sentinel: with --raise-epoch, cures Sentinels that were set up
            anew: they begin with a low epoch again, and locks are refused until it
            is above the one that the data has seen.

            Other backends need no preparation.

            Exit codes: 0 it is prepared, 64 there is nothing to prepare, or it was
            used before, 69 the backend cannot be used.
            """
    )

    @OptionGroup var backend: BackendOptions

    @Flag(help: "Raises the epoch of Sentinels that were set up anew above the one that the master's data has seen.")
    var raiseEpoch = false

    func run() async throws {
        let url = try self.backend.url
        do throws(LockError) {
            if self.raiseEpoch {
                let epoch = try await LockBackends.raiseEpoch(url: url)
                Console.print("the Sentinels' epoch is \(epoch)")
            } else {
                try await LockBackends.initialize(url: url)
                Console.print("\(url.hosts.count) instances are open")
            }
        } catch {
            throw Failure(error)
        }
    }
}
