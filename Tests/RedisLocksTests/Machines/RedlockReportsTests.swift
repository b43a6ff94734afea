import DistributedLocks
import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

/// What several instances say together to what people ask.
@Suite struct RedlockReportsTests {
    private let name: LockName
    private let standing = RedlockStanding(
        quorum: 2, memberCount: 3,
        instances: (0..<3).map {
            InstanceStanding(
                index: $0, name: "r\($0)", closed: $0 == 2 ? "not open yet" : nil, isUntried: false, runID: "",
                found: nil, refusal: nil)
        })

    init() throws { self.name = try LockName("a") }

    private func text(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }

    private func owner(_ letter: Character) -> String {
        String(repeating: letter, count: 27) + ":" + String(repeating: "c", count: 16) + ":7:there:"
    }

    /// What status.lua answers.
    private func status(
        _ holder: String = "", left: Int64 = 1_000, fence: Int64 = 5, waiters: [String] = []
    ) -> RESPValue {
        .array(
            [self.text(holder), .integer(left), self.text("\(fence)"), .integer(2_000), .integer(0), self.text("")]
                + waiters.flatMap { [self.text($0), .integer(1_500)] })
    }

    private func reports(_ answers: [Result<RESPValue, LockError>]) -> RedlockReports<RESPValue> {
        RedlockReports(standing: self.standing, answers: answers)
    }

    @Test func `the holder is whom a quorum has, for as long as a quorum has it`() {
        let holder = self.owner("h")
        let status = self.reports([
            .success(self.status(holder, left: 3_000, fence: 5)), .success(self.status(holder, left: 1_000, fence: 9)),
            .success(self.status(self.owner("x"))),
        ]).status(of: self.name, key: "a", [])
        #expect(status.holder?.remainingLease == .milliseconds(1_000))
        #expect(status.holder?.token?.rawValue == 9 && status.lastToken?.rawValue == 9)
        #expect(status.nodes.count == 3)
        #expect(status.nodes.last?.state.hasSuffix("(not open yet)") == true)
    }

    @Test func `one that has no quorum holds nothing`() {
        let status = self.reports([
            .success(self.status(self.owner("h"))), .success(self.status()), .failure(LockError(.unreachable, "away")),
        ]).status(of: self.name, key: "a", [])
        #expect(status.holder == nil)
        #expect(status.nodes.map(\.state).last == "away")
    }

    @Test func `who has the turn waits, unless the lock is its own`() {
        let holder = self.owner("h")
        let turns: [Result<RESPValue, LockError>] = [
            .success(self.status(self.owner("t"), waiters: [self.owner("w")])), .success(self.status()),
        ]
        let answers = Array(repeating: Result<RESPValue, LockError>.success(self.status(holder)), count: 3)
        let status = self.reports(answers).status(of: self.name, key: "a", turns)
        #expect(status.waiters.count == 2 && status.waiterCount == 2)
        let own = self.reports(answers).status(of: self.name, key: "a", [.success(self.status(holder))])
        #expect(own.waiters.isEmpty)
    }

    @Test func `too few answers are no answer, and many that refuse are a refusal`() {
        let away = Result<RESPValue, LockError>.failure(LockError(.unreachable, "away"))
        let refusal = Result<RESPValue, LockError>.failure(LockError(.serverRefused, "may not"))
        let answer = Result<RESPValue, LockError>.success(.null)
        #expect(self.reports([answer, answer, away]).noQuorum == nil)
        #expect(self.reports([answer, away, refusal]).noQuorum?.code == .noQuorum)
        #expect(self.reports([answer, away, refusal]).noQuorum?.nodes.map(\.node) == ["r1", "r2"])
        #expect(self.reports([answer, refusal, refusal]).noQuorum?.code == .serverRefused)
    }

    @Test func `what is broken is what a quorum has, or else one of our own`() {
        let ours = self.owner("h")
        #expect(self.reports([.success(.null), .success(.null), .success(.null)]).brokenHolder == nil)
        #expect(
            self.reports([
                .success(self.text("another")), .success(self.text(ours)), .success(self.text(ours)),
            ]).brokenHolder == ours)
        #expect(
            self.reports([.success(self.text("another")), .success(self.text(ours)), .success(.null)]).brokenHolder
                == ours)
        #expect(
            self.reports([.success(self.text("another")), .success(.null), .success(.null)]).brokenHolder == "another")
    }

    @Test func `names are those that any instance has keys of, without what is kept beside locks`() {
        let reports = RedlockReports<[String]>(
            standing: self.standing,
            answers: [
                .success(["dlock:b", "dlock:a"]), .success(["dlock:a", "dlock.fence:{dlock:a}"]),
                .failure(LockError(.unreachable, "away")),
            ])
        #expect(reports.names(prefix: "dlock:").map(\.rawValue) == ["a", "b"])
    }
}

@Suite struct InstanceSetTests {
    @Test func `it counts, and tells its members from any of them on`() {
        var set = InstanceSet.all(5)
        set.remove(3)
        #expect(set.count == 4 && set.contains(4) && !set.contains(3) && !set.isEmpty)
        var order: [Int] = []
        set.forEach(from: 2) { order.append($0) }
        #expect(order == [2, 4, 0, 1])
        #expect(set.subtracting(.all(2)).intersection(InstanceSet(4)) == InstanceSet(4))
        #expect(InstanceSet.all(32).count == 32 && InstanceSet.all(32).contains(31))
        set = InstanceSet()
        set.insert(31)
        order = []
        set.forEach(from: 31) { order.append($0) }
        #expect(order == [31])
    }

    @Test func `places of claims are used again`() {
        var places = ClaimPlaces()
        let (one, two) = (AttemptID(rawValue: 1), AttemptID(rawValue: 2))
        #expect(places.take(one) == (0, true))
        #expect(places.take(two) == (1, true))
        #expect(places[two] == 1 && places.count == 2)
        places.leave(one)
        #expect(places[one] == nil && places.count == 1)
        #expect(places.take(AttemptID(rawValue: 3)) == (0, false))
    }
}
