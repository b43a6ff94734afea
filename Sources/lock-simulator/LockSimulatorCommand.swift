import ArgumentParser
import LockSimulator

@main struct LockSimulatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock-simulator",
        abstract: "Runs the shipped locks in a world of its own, on a time of its own, from one seed."
    )

    @Option(help: "redis, redlock, zookeeper") var backend = Scenario.Store.redis
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "How many seeds, one after another.") var seeds: UInt64 = 1
    @Flag(help: "Print what happens, one line for each event.") var trace = false
    @Flag(help: "With --trace: also what clients and servers say to each other.") var wire = false
    @Flag(help: "Print one line for each seed.") var each = false

    func run() throws {
        var (grants, steps, refused, seconds) = (0, 0, 0, 0.0)
        var faults: [String: Int] = [:]
        for seed in self.seed..<self.seed + self.seeds {
            var scenario = Scenario(store: self.backend, seed: seed)
            scenario.isTraced = self.trace
            scenario.hasConversations = self.wire
            let outcome = try scenario.run()
            for line in outcome.trace { print(line) }
            if self.each || self.trace {
                print(
                    "seed \(seed): \(outcome.grants) grants, \(outcome.steps) steps, trace \(String(outcome.traceHash, radix: 16))"
                )
            }
            guard outcome.violations.isEmpty else {
                for violation in outcome.violations {
                    print("seed \(seed): \(violation.rule.rawValue): \(violation.text)")
                }
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
}

extension Scenario.Store: ExpressibleByArgument {}
