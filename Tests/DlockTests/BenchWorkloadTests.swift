import ArgumentParser
import Testing

@testable import dlock

@Suite struct BenchWorkloadTests {
    @Test(arguments: [
        ("seq", Workload(.seq, workers: 1)), ("crash", Workload(.crash, workers: 1)),
        ("wide", Workload(.wide, workers: 64)), ("wide-1000", Workload(.wide, workers: 1_000)),
        ("hot", Workload(.hot, workers: 16)), ("hot-1", Workload(.hot, workers: 1)),
        ("idle", Workload(.idle, workers: 1_000)), ("idle-10000", Workload(.idle, workers: 10_000)),
    ])
    func `a workload is a kind and a number of workers, which may be left out`(
        text: String,
        workload: Workload
    ) throws {
        #expect(try Workload.parse(text, workers: nil) == workload)
        #expect(try Workload.parse(workload.name, workers: nil) == workload)
    }

    @Test func `--workers counts where the name has no number`() throws {
        #expect(try Workload.parse("hot", workers: 5) == Workload(.hot, workers: 5))
        #expect(try Workload.parse("hot-16", workers: 5) == Workload(.hot, workers: 16))
        #expect(try Workload.parse("seq", workers: 5) == Workload(.seq, workers: 1))
        #expect(Workload.defaults(workers: nil).map(\.name) == ["seq", "wide-64", "hot-16"])
        #expect(Workload.defaults(workers: 5).map(\.name) == ["seq", "wide-5", "hot-5"])
        #expect(Workload.ofPage(workers: nil).map(\.name) == ["seq", "wide-64", "hot-16", "crash", "idle-1000"])
    }

    @Test(arguments: [
        "", "-", "warm", "Seq", "seq-1", "crash-2", "hot-", "hot-0", "hot-+1", "hot--1", "hot-1.5", "hot-10001",
        "wide-64-2", "wide- 4", "hot-99999999999999999999",
    ])
    func `nonsense is refused with what would be right`(text: String) {
        #expect(throws: ValidationError.self) { try Workload.parse(text, workers: nil) }
    }

    @Test(arguments: [
        ["--workload", "hot-16", "--processes", "16"], ["--processes", "4"], ["--seconds", "0.5", "--rounds", "1"],
        ["--workload", "idle", "--workload", "hot", "--workers", "10000"],
        ["--backend", "embedded:", "--lease", "500ms"],
    ])
    func `sensible options are accepted`(arguments: [String]) throws {
        _ = try BenchCommand.parse(arguments)
    }

    @Test(arguments: [
        ["--workload", "hot-4", "--processes", "8"], ["--workload", "seq", "--processes", "2"], ["--processes", "0"],
        ["--seconds", "0"], ["--seconds", "-1"], ["--seconds", "nan"], ["--seconds", "601"], ["--rounds", "0"],
        ["--workers", "0"], ["--workers", "10001"], ["--workload", "seq", "--workers", "4"],
        ["--workload", "hot-4", "--workers", "4"], ["--lease", "0s"], ["--lease", "2d"],
    ])
    func `options that make no sense together are refused`(arguments: [String]) {
        #expect(throws: (any Error).self) { try BenchCommand.parse(arguments) }
    }

    @Test func `workers are spread evenly over processes`() {
        #expect(Measurement.shares(of: 16, among: 16) == Array(repeating: 1, count: 16))
        #expect(Measurement.shares(of: 10, among: 4) == [3, 3, 2, 2])
        #expect(Measurement.shares(of: 3, among: 1) == [3])
    }
}
