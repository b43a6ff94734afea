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

    private struct Combination: Sendable {
        let backend: Backend
        let measurement: Measurement
        var rounds: [RoundResult] = []
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
            for index in combinations.indices {
                let combination = combinations[index]
                Console.showPassing(
                    "dlock bench: round \(round) of \(self.rounds), \(combination.measurement.workload.name) on "
                        + combination.backend.shown
                )
                combinations[index].rounds.append(try await combination.measurement.run())
            }
        }
        Console.clearPassing()
        return combinations.map { combination in
            BenchResult(
                backend: combination.backend.shown,
                workload: combination.measurement.workload,
                processes: combination.measurement.processes,
                rounds: combination.rounds
            )
        }
    }
}
