import ArgumentParser
import LockSimulator

@main struct LockSimulatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock-simulator",
        abstract: "Runs the shipped locks in a world of its own, on a time of its own, from one seed."
    )

    @Option(help: "\(Scenario.Store.allCases.map(\.rawValue).joined(separator: ", "))")
    var backend = Scenario.Store.redis
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "How many seeds, one after another.") var seeds: UInt64 = 1
    @Flag(help: "Print what happens, one line for each event.") var trace = false
    @Flag(help: "With --trace: also what clients and servers say to each other.") var wire = false
    @Flag(help: "Print one line for each seed.") var each = false
    @Flag(help: "Look for less that goes wrong as this seed does, and print it.") var shrink = false
    @Option(help: "How many clients begin; one to four, as the seed says, by default.") var clients: Int?
    @Option(help: "For how many seconds locks are taken and faults happen.") var length: Double = 60
    @Option(parsing: .upToNextOption, help: "Numbers of faults that do not happen.") var without: [Int] = []
    @Option(help: "The kind of fault that happens, and no other; may be repeated.") var only: [String] = []

    @Flag(help: "Print which backends there are.") var listBackends = false
    @Flag(help: "Print which kinds of faults meet this backend.") var listFaults = false

    func validate() throws {
        if let clients = self.clients, clients < 1 { throw ValidationError("there is no run without a client") }
        guard self.length > 0, self.length < 86_400 else {
            throw ValidationError("a run lasts some seconds, and less than a day")
        }
    }

    private func scenario(_ seed: UInt64) -> Scenario {
        var scenario = Scenario(store: self.backend, seed: seed)
        scenario.isTraced = self.trace
        scenario.hasConversations = self.wire
        scenario.clientCount = self.clients
        scenario.length = Int64(self.length * 1e9)
        scenario.omittedFaults = Set(self.without)
        scenario.faultNames = self.only.isEmpty ? nil : Set(self.only)
        return scenario
    }

    func run() throws {
        if self.listBackends { return print(Scenario.Store.allCases.map(\.rawValue).joined(separator: "\n")) }
        if self.listFaults { return print(try self.scenario(self.seed).faultKinds().joined(separator: "\n")) }
        if self.shrink { return try self.runSmallest() }
        var (grants, steps, refused, seconds) = (0, 0, 0, 0.0)
        var faults: [String: Int] = [:]
        for seed in self.seed..<self.seed + self.seeds {
            let outcome = try self.scenario(seed).run()
            for line in outcome.trace { print(line) }
            if self.each || self.trace {
                print(
                    "seed \(seed): \(outcome.grants) grants, \(outcome.steps) steps, trace \(String(outcome.traceHash, radix: 16))"
                )
            }
            guard outcome.violations.isEmpty else {
                self.tell(outcome)
                throw ExitCode.failure
            }
            grants += outcome.grants
            steps += outcome.steps
            refused += outcome.refusedWrites
            seconds += outcome.seconds
            faults.merge(outcome.faults) { $0 + $1 }
        }
        let list = faults.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        print(
            "\(self.seeds) seeds, \(grants) grants, \(refused) refused at the resource, \(steps) steps, \(Int(seconds)) simulated seconds; \(list)"
        )
    }

    private func tell(_ outcome: Scenario.Outcome) {
        for violation in outcome.violations {
            print("seed \(outcome.seed): \(violation.rule.rawValue): \(violation.text)")
        }
    }

    private func runSmallest() throws {
        var scenario = self.scenario(self.seed)
        scenario.isTraced = true
        guard let shrinking = try Shrinking(of: scenario) else {
            print("seed \(self.seed): nothing goes wrong")
            return
        }
        for line in shrinking.outcome.trace { print(line) }
        self.tell(shrinking.outcome)
        let smallest = shrinking.smallest
        var words = ["--backend", self.backend.rawValue, "--seed", "\(self.seed)", "--trace"]
        if let clients = smallest.clientCount { words += ["--clients", "\(clients)"] }
        words += ["--length", "\(Double(smallest.length) / 1e9)"]
        for name in self.only { words += ["--only", "'\(name)'"] }
        if !smallest.omittedFaults.isEmpty {
            words += ["--without"] + smallest.omittedFaults.sorted().map { "\($0)" }
        }
        print("\(shrinking.faultCount) faults are left: lock-simulator \(words.joined(separator: " "))")
        throw ExitCode.failure
    }
}

extension Scenario.Store: ExpressibleByArgument {}
