/// All that one `dlock bench` measures.
struct BenchRun: Sendable {
    struct Backend: Sendable {
        /// The URL without its password.
        let shown: String
        let settings: BenchSettings
    }

    let backends: [Backend]
    let workloads: [Workload]
    let processes: Int?
    let rounds: Int
    /// Whether a measurement that fails is left out from then on, and the others go on. What a lock must never do ends
    /// everything.
    var outlivesFailures = false

    private struct Combination: Sendable {
        let backend: Backend
        let measurement: Measurement
        var rounds: [RoundResult] = []
        /// Why there are no more of them.
        var failure: String?
    }

    /// Measures everything once a round, so that a busy moment of the machine does not fall on one of them alone.
    @concurrent
    func results() async throws -> [BenchResult] {
        let names = BenchNames.random()
        var combinations = self.workloads.flatMap { workload in
            self.backends.map { backend in
                Combination(
                    backend: backend,
                    measurement: Measurement(
                        workload: workload,
                        names: names,
                        processes: workload.kind == .hot ? self.processes : nil,
                        settings: backend.settings
                    )
                )
            }
        }
        for round in 1...self.rounds {
            for index in combinations.indices where combinations[index].failure == nil {
                let combination = combinations[index]
                Console.showPassing(
                    "dlock bench: round \(round) of \(self.rounds), \(combination.measurement.workload.name) on "
                        + combination.backend.shown
                )
                do {
                    combinations[index].rounds.append(try await combination.measurement.run())
                } catch {
                    let failure = BenchFailure.failure(of: error)
                    guard self.outlivesFailures, failure.status == ExitStatus.unavailable, !Task.isCancelled else {
                        throw failure
                    }
                    combinations[index].failure = failure.message
                }
            }
        }
        Console.clearPassing()
        return combinations.map { combination in
            var result = BenchResult(
                backend: combination.backend.shown,
                workload: combination.measurement.workload,
                processes: combination.measurement.processes,
                rounds: combination.rounds
            )
            result.failure = combination.failure
            return result
        }
    }
}
