import ArgumentParser
import DistributedLocks

/// A number of cycles, however long they take: for those who count instructions, under whose tools time means little.
struct BenchCyclesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench-cycles",
        abstract: "Works for Benchmarks/instructions.sh.",
        shouldDisplay: false
    )

    @Option(help: "Where the locks are kept, as a URL.")
    var backend: String

    @Option(help: "seq or wide-N.")
    var workload: String

    @Option(help: "How many cycles all workers make together.")
    var cycles: Int

    @Flag(help: "Runs the workers on the backend's own threads, where it has some.")
    var onBackendThreads = false

    @concurrent
    func run() async throws {
        let workload = try Workload.parse(self.workload, workers: nil)
        guard workload.kind == .seq || workload.kind == .wide, self.cycles >= workload.workers else {
            throw ValidationError("bench-cycles is for seq and wide-N, and for one cycle of each worker at least")
        }
        let measurement = Measurement(
            workload: workload,
            names: BenchNames.random(),
            processes: nil,
            settings: BenchSettings(
                backend: self.backend,
                seconds: 600,
                leaseMilliseconds: 60_000,
                runsOnBackendThreads: self.onBackendThreads,
                cyclesPerWorker: self.cycles / workload.workers
            )
        )
        do {
            Console.print("\(try await measurement.run().cycles)")
        } catch {
            throw BenchFailure.failure(of: error)
        }
    }
}
