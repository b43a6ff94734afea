/// Looks for less that breaks the same rule: fewer faults, fewer clients, less time. What is left is no part of the first run, as
/// everything after an omission goes another way; it is a run of its own that is easier to read.
package struct Shrinking {
    package let smallest: Scenario
    package let outcome: Scenario.Outcome
    /// How many faults are left.
    package let faultCount: Int

    /// - Returns: `nil`: the scenario breaks no rule.
    package init?(of scenario: Scenario) throws {
        var smallest = scenario
        var outcome = try smallest.run()
        guard let rule = outcome.violations.first?.rule else { return nil }
        func breaks(_ candidate: Scenario) throws -> Bool {
            let tried = try candidate.run()
            guard tried.violations.contains(where: { $0.rule == rule }) else { return false }
            smallest = candidate
            outcome = tried
            return true
        }
        for count in 1..<4 {
            var candidate = smallest
            candidate.clientCount = count
            if try breaks(candidate) { break }
        }
        // Halves first, then smaller parts, then one by one (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing
        // input", 2002).
        var part = outcome.planned
        while part >= 1 {
            var start = 0
            while start < outcome.planned {
                var candidate = smallest
                candidate.omittedFaults.formUnion(start..<min(start + part, outcome.planned))
                if candidate.omittedFaults != smallest.omittedFaults { _ = try breaks(candidate) }
                start += part
            }
            part /= 2
        }
        while smallest.length > 2_000_000_000 {
            var candidate = smallest
            candidate.length = smallest.length * 3 / 4
            guard try breaks(candidate) else { break }
        }
        self.smallest = smallest
        self.outcome = outcome
        self.faultCount = outcome.faults.values.reduce(0, +)
    }
}
