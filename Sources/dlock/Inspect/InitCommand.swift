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

            With --from it changes a Redlock that is in use: --from is what it is
            now, and --backend what it is to be, with one member more, or one less,
            or another longest-lease or max-clock-skew. Locks are granted
            meanwhile. Clients need the new list before the next change, which is
            refused until most members have had this one for as long as a lease
            lasts. If it fails on the way, the same command goes on. Make one change
            at a time: of two at once at most one is made. A member that has died
            is removed before another one is added.

            redis+sentinel: with --raise-epoch, cures Sentinels that were set up
            anew: they begin with a low epoch again, and locks are refused until it
            is above the one that the data has seen.

            Other backends need no preparation.

            Exit codes: 0 it is prepared, 64 there is nothing to prepare, or it was
            used before, or --from is not one step away, 69 the backend cannot be
            used, or cannot be changed now.
            """
    )

    @OptionGroup var backend: BackendOptions

    @Flag(help: "Raises the epoch of Sentinels that were set up anew above the one that the master's data has seen.")
    var raiseEpoch = false

    @Option(help: ArgumentHelp("What the Redlock is now, where --backend is what it is to be.", valueName: "url"))
    var from: String?

    func run() async throws {
        let url = try self.backend.url
        do throws(LockError) {
            if let from {
                let (generation, lacking) = try await LockBackends.change(from: LockURL(from), to: url)
                Console.print("\(url.hosts.count) instances, generation \(generation) of the policy")
                for node in lacking { Console.complain("\(node.node) does not have it yet: \(node.message)") }
            } else if self.raiseEpoch {
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
