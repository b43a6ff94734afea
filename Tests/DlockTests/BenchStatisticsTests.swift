import Testing

@testable import dlock

@Suite struct BenchStatisticsTests {
    @Test func `the median is the middle one, or the mean of the two in the middle`() {
        #expect(Statistics.median([]) == nil)
        #expect(Statistics.median([3]) == 3)
        #expect(Statistics.median([9, 1, 5]) == 5)
        #expect(Statistics.median([4, 1, 9, 2]) == 3)
    }

    @Test func `imbalance compares the busiest worker with the least busy`() {
        #expect(Statistics.imbalance([10, 20, 15]) == 2)
        #expect(Statistics.imbalance([7]) == nil)
        #expect(Statistics.imbalance([7, 0]) == nil)
    }

    @Test func `percentiles of rounds are medians, and the longest time is that of all`() {
        let rounds = [10.0, 30, 20].map { Percentiles(p50: $0, p90: $0 + 1, p99: $0 + 2, p999: $0 + 3, max: $0 * 10) }
        #expect(Percentiles.ofRounds(rounds) == Percentiles(p50: 20, p90: 21, p99: 22, p999: 23, max: 300))
        #expect(Percentiles.ofRounds([]) == nil)
    }

    @Test func `times recorded by many workers are merged without a loss`() throws {
        let recorder = TimeRecorder(workers: 100)
        // 1 to 100 microseconds, one a worker; then one that is much longer.
        for worker in 0..<100 { recorder.shard(of: worker).record(UInt64(worker + 1) * 1_000) }
        recorder.shard(of: 3).record(3_600_000_000_000)
        let times = try #require(Percentiles(recorder.merged()))
        #expect(abs(times.p50 - 51) < 0.1)
        #expect(abs(times.p90 - 91) < 0.1)
        #expect(abs(times.max - 3.6e9) / 3.6e9 < 0.001)
        #expect(Percentiles(TimeRecorder(workers: 1).merged()) == nil)
    }
}
