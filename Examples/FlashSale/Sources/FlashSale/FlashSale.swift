import ArgumentParser
import Foundation
import LockURLs

@main
struct FlashSale: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "FlashSale",
        abstract: "Sells 100 items to 1,000 buyers, with and without what a lock needs.",
        discussion: """
            Real processes sell from one database. Each sale reads the stock, takes the payment, and writes. Meanwhile
            sellers are stopped past their lease and killed while they hold the lock. Without an option every mode is run:

              no lock                         two sell the same item
              a lock that anybody deletes     a late seller deletes another's lock, and two are inside
              a lock without a lease          a killed seller's lock stays for ever: nobody sells any more
              a lock with a lease, no fence   a stopped seller wakes up late and writes what it read long ago
              lock, lease and fence           sells exactly what there is

            The first three modes use a home-made lock in the shop's database, the last two this package. docs/flash-sale.md
            tells the story. Exit code 1: the fenced sale did not sell exactly what there is.
            """,
        subcommands: [Run.self, Sell.self],
        defaultSubcommand: Run.self
    )
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Runs the sales (the default).")

    @Flag(name: .customLong("no-lock"), help: "Only the sale without a lock.") var noLock = false
    @Flag(name: .customLong("blind-release"), help: "Only the sale with a lock that anybody deletes.")
    var blindRelease = false
    @Flag(name: .customLong("no-lease"), help: "Only the sale with a lock that never ends.") var noLease = false
    @Flag(name: .customLong("no-fence"), help: "Only the sale with a lock and no fence.") var noFence = false
    @Flag(help: "Only the sale with lock, lease and fence.") var fenced = false

    @Option(help: "Where the locks are kept: embedded:, redis://host, …") var backend: String?
    @Option(help: "The shop's database: sqlite:/path/file, or postgres://user@host/name (its tables are made anew).")
    var database: String?
    @Option(help: "How many items there are.") var items = 100
    @Option(help: "How many want one.") var buyers = 1_000
    @Option(help: "How many processes sell.") var sellers = 8
    @Option(help: "The lease in milliseconds.") var lease = 1_000
    @Option(help: "A shell command that is run when half of the fenced sale is over, such as a restart of Redis.")
    var disturb: String?
    @Flag(help: "Prints JSON.") var json = false
    @Flag(help: "Ends with 1, too, if a broken mode did no harm.") var strict = false

    func validate() throws {
        guard (10...100_000).contains(self.items), self.buyers > self.items, self.buyers <= 1_000_000 else {
            throw ValidationError("there are at least 10 items, and more buyers than items")
        }
        guard (2...64).contains(self.sellers) else { throw ValidationError("there are 2 to 64 sellers") }
        guard (200...10_000).contains(self.lease) else { throw ValidationError("a lease is 200 to 10000 ms") }
    }

    func run() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "flash-sale-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let selected: [(Bool, Mode)] = [
            (self.noLock, .noLock), (self.blindRelease, .blindRelease), (self.noLease, .noLease),
            (self.noFence, .noFence), (self.fenced, .fenced),
        ]
        let chosen = selected.filter(\.0).map(\.1)
        var outcomes: [(mode: Mode, outcome: Sale.Outcome)] = []
        for mode in chosen.isEmpty ? Mode.allCases : chosen {
            FileHandle.standardError.write(Data("\(mode.title) …\n".utf8))
            let plan = Plan(
                mode: mode,
                backend: self.backend ?? "embedded://\(folder.path)/locks.db",
                database: self.database ?? "sqlite:\(folder.path)/shop.db",
                items: self.items, buyers: self.buyers, sellers: self.sellers, leaseInMilliseconds: self.lease)
            let sale = Sale(plan: plan, disturbance: mode == .fenced ? self.disturb : nil)
            outcomes.append((mode, try sale.run()))
        }
        if self.json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(outcomes.map(\.outcome)), as: UTF8.self))
        } else {
            print(ResultsTable.lines(outcomes.map(\.outcome)).joined(separator: "\n"))
        }
        let wrong = outcomes.filter { !self.isAsExpected($0.mode, $0.outcome) }
        for (_, outcome) in wrong {
            FileHandle.standardError.write(
                Data("not as expected: \(outcome.mode), \(outcome.failed) sellers failed\n".utf8))
        }
        if !wrong.isEmpty { throw ExitCode(1) }
    }

    private func isAsExpected(_ mode: Mode, _ outcome: Sale.Outcome) -> Bool {
        switch mode {
        case .fenced:
            outcome.sold == outcome.items && outcome.failed == 0 && !outcome.isDeadlocked
                && (!self.strict || outcome.refused > 0)
        case .noLock, .blindRelease, .noFence: !self.strict || outcome.oversold > 0
        case .noLease: !self.strict || outcome.isDeadlocked
        }
    }
}

/// What a seller's process runs.
struct Sell: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "sell", shouldDisplay: false)

    @Option var mode: String
    @Option var seller: Int
    @Option var items: Int
    @Option var buyers: Int
    @Option var sellers: Int
    @Option var lease: Int

    func run() async throws {
        guard let mode = Mode(rawValue: self.mode),
            let backend = ProcessInfo.processInfo.environment["FLASH_SALE_BACKEND"],
            let database = ProcessInfo.processInfo.environment["FLASH_SALE_DATABASE"]
        else { throw ValidationError("a seller is started by the sale") }
        Lifeline.endWithSale()
        let plan = Plan(
            mode: mode, backend: backend, database: database, items: self.items, buyers: self.buyers,
            sellers: self.sellers, leaseInMilliseconds: self.lease)
        try await Seller(plan: plan, number: self.seller).run()
    }
}
