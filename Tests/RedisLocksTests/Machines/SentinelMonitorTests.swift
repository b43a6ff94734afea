import LockKernel
import LockTransport
import Testing

@testable import RedisLocks

/// A monitor machine to talk to in words.
private final class MonitorTalk {
    typealias Machine = SentinelMonitorStateMachine

    private var machine: Machine
    private let start = BootInstant.now
    private var now: BootInstant
    private(set) var round = 0

    init(_ count: Int = 3, maximumEpoch: Int64 = 65_535) {
        self.machine = Machine(
            master: "m",
            sentinels: (1...count).map { "s\($0)" },
            maximumEpoch: maximumEpoch
        )
        self.now = self.start
    }

    var wakeup: Duration? { self.machine.nextWakeup.map { $0 - self.now } }

    func wait(_ duration: Duration) { self.now += duration }
    func want() -> String { self.text(self.machine.wanted(now: self.now)) }
    func fire() -> String { self.text(self.machine.timerFired(now: self.now)) }
    func reach(_ index: Int) -> String { self.text(self.machine.reached(index - 1, now: self.now)) }

    func switched(from port: Int) -> String {
        self.text(self.machine.switched(from: .tcp(host: "h", port: port), now: self.now))
    }

    func hear(_ index: Int, _ opinion: Machine.Opinion, round: Int? = nil) -> String {
        self.text(self.machine.heard(opinion, from: index - 1, round: round ?? self.round, now: self.now))
    }

    /// - Parameter recorded: the port of its record, if it is not the one it sends clients to.
    func answer(
        _ index: Int,
        _ port: Int,
        epoch: Int64,
        recorded: Int? = nil,
        flags: String...,
        round: Int? = nil
    ) -> String {
        let record = SentinelAnswer.Record(
            endpoint: .tcp(host: "h", port: recorded ?? port),
            epoch: epoch,
            flags: Set(["master"] + flags)
        )
        return self.hear(
            index,
            .answered(SentinelAnswer(address: .tcp(host: "h", port: port), record: record)),
            round: round
        )
    }

    /// Asks, and has all answer alike.
    func settle(on port: Int, epoch: Int64, count: Int = 3) -> String {
        _ = self.want()
        return (1...count).map { self.answer($0, port, epoch: epoch) }.last { !$0.isEmpty } ?? ""
    }

    private func text(_ action: Machine.Action) -> String {
        var parts: [String] = []
        switch action.verdict {
        case .found(let location): parts.append("found \(location.endpoint) epoch \(location.tag)")
        case .failed(let failure): parts.append((failure.isRefusal ? "refused: " : "failed: ") + failure.reason)
        case nil: break
        }
        if let location = action.left { parts.append("left \(location.endpoint)") }
        if let location = action.moved { parts.append("moved to \(location.endpoint)") }
        if let round = action.ask {
            self.round = round
            parts.append("ask")
        }
        return parts.joined(separator: ", ")
    }
}

@Suite struct SentinelMonitorTests {
    @Test func `the master is where a majority of all configured Sentinels says`() {
        let talk = MonitorTalk()
        #expect(talk.settle(on: 1, epoch: 5) == "found h:1 epoch 5, moved to h:1")
        #expect(talk.want() == "ask")
        #expect(talk.answer(1, 1, epoch: 5) == "")
        #expect(talk.answer(3, 1, epoch: 5) == "found h:1 epoch 5")
    }

    @Test func `one Sentinel of three that can be reached is no majority`() {
        let talk = MonitorTalk()
        #expect(talk.want() == "ask")
        #expect(talk.answer(1, 1, epoch: 5) == "")
        #expect(talk.hear(2, .failed("connection refused", isRefusal: false)) == "")
        let text = talk.hear(3, .failed("no route", isRefusal: false))
        #expect(
            text.hasPrefix("failed: the Sentinels do not tell where the master 'm' is: s1: says h:1; s2: connection"))
        #expect(text.hasSuffix("s3: no route"))
    }

    @Test func `five Sentinels need three, four need three, one is enough for itself`() {
        let five = MonitorTalk(5)
        _ = five.want()
        _ = five.answer(1, 1, epoch: 1)
        _ = five.answer(2, 1, epoch: 1)
        for other in 3...4 { #expect(five.hear(other, .failed("down", isRefusal: false)) == "") }
        #expect(five.hear(5, .failed("down", isRefusal: false)).hasPrefix("failed"))
        let four = MonitorTalk(4)
        _ = four.want()
        _ = four.answer(1, 1, epoch: 1)
        _ = four.answer(2, 1, epoch: 1)
        _ = four.answer(3, 2, epoch: 2)
        #expect(four.answer(4, 2, epoch: 2).hasPrefix("failed"))
        #expect(MonitorTalk(1).settle(on: 1, epoch: 0, count: 1) == "found h:1 epoch 0, moved to h:1")
    }

    @Test func `the new epoch beside the old address is not taken`() {
        // The leader of a failover, for about a second: it sends clients to the new master already, and its record has the
        // new epoch with the old address.
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        _ = talk.want()
        #expect(talk.answer(1, 2, epoch: 6, recorded: 1, flags: "failover_in_progress") == "")
        #expect(talk.answer(2, 1, epoch: 5) == "")
        #expect(talk.answer(3, 1, epoch: 5) == "found h:1 epoch 5")
        _ = talk.want()
        // Even if its flags said nothing: a record of another address than the agreed one forbids a decision.
        #expect(talk.answer(1, 2, epoch: 6, recorded: 1) == "")
        #expect(talk.answer(2, 2, epoch: 6) == "")
        #expect(talk.answer(3, 2, epoch: 6).hasPrefix("failed"))
    }

    @Test func `a Sentinel that has not heard of a failover does not keep the others' clients from the new master`() {
        // It is cut off together with the old master, which it takes to be well; clients reach it all the same.
        let talk = MonitorTalk()
        _ = talk.want()
        #expect(talk.answer(3, 1, epoch: 5) == "")
        #expect(talk.answer(1, 2, epoch: 6) == "")
        #expect(talk.answer(2, 2, epoch: 6) == "found h:2 epoch 6, moved to h:2")
        // A record of the new master that has not the new epoch yet does not help the old one.
        _ = talk.want()
        #expect(talk.answer(3, 1, epoch: 6) == "")
        #expect(talk.answer(1, 2, epoch: 7) == "")
        #expect(talk.answer(2, 2, epoch: 6) == "found h:2 epoch 7, moved to h:2")
    }

    @Test(arguments: [6, 7] as [Int64])
    func `another address with an epoch that is not lower forbids a decision`(epoch: Int64) {
        let talk = MonitorTalk()
        _ = talk.want()
        #expect(talk.answer(1, 2, epoch: 6) == "")
        #expect(talk.answer(3, 1, epoch: epoch) == "")
        #expect(talk.answer(2, 2, epoch: 6).hasPrefix("failed"))
    }

    @Test(arguments: ["s_down", "o_down", "failover_in_progress"])
    func `a record that is not calm tells no epoch`(flag: String) {
        let talk = MonitorTalk()
        _ = talk.want()
        _ = talk.answer(1, 1, epoch: 5, flags: flag)
        _ = talk.answer(2, 1, epoch: 5, flags: flag)
        #expect(talk.answer(3, 1, epoch: 5, flags: flag).contains("says h:1 (h:1 is master, ".prefix(10)))
        let other = MonitorTalk()
        _ = other.want()
        _ = other.answer(1, 1, epoch: 7, flags: flag)
        _ = other.answer(2, 1, epoch: 5, flags: "disconnected")
        #expect(other.answer(3, 1, epoch: 5, flags: flag) == "found h:1 epoch 5, moved to h:1")
    }

    @Test func `the highest epoch of the agreed address counts`() {
        let talk = MonitorTalk()
        _ = talk.want()
        _ = talk.answer(1, 1, epoch: 5)
        _ = talk.answer(2, 1, epoch: 7)
        #expect(talk.answer(3, 1, epoch: 5) == "found h:1 epoch 7, moved to h:1")
    }

    @Test func `an epoch that tokens cannot carry is refused`() {
        let talk = MonitorTalk(maximumEpoch: 65_535)
        #expect(
            talk.settle(on: 1, epoch: 65_536)
                == "refused: the Sentinels' epoch of 'm' is 65536; up to 65535 can be used")
    }

    @Test func `a switch is followed at once, and the old place is not gone back to`() {
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        #expect(talk.switched(from: 1) == "left h:1, ask")
        // The majority has not heard of it.
        _ = talk.answer(1, 2, epoch: 6)
        _ = talk.answer(2, 1, epoch: 5)
        #expect(talk.answer(3, 1, epoch: 5).hasPrefix("failed"))
        #expect(talk.wakeup == .milliseconds(100))
        talk.wait(.milliseconds(100))
        #expect(talk.fire() == "ask")
        _ = talk.answer(1, 2, epoch: 6)
        #expect(talk.answer(2, 2, epoch: 6) == "found h:2 epoch 6, moved to h:2")
        #expect(talk.wakeup == .seconds(10))
    }

    @Test func `where a single Sentinel is wrong about a switch, the old place is used again after three seconds`() {
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        #expect(talk.switched(from: 1) == "left h:1, ask")
        _ = talk.answer(1, 1, epoch: 5)
        _ = talk.answer(2, 1, epoch: 5)
        #expect(talk.answer(3, 1, epoch: 5).hasPrefix("failed"))
        talk.wait(.seconds(3))
        #expect(talk.settle(on: 1, epoch: 5) == "found h:1 epoch 5")
        // Told again, it is not left again: the majority has been asked about that.
        #expect(talk.switched(from: 1) == "ask")
    }

    @Test func `a switch elsewhere, and one while a round is under way, only has the Sentinels asked anew`() {
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        #expect(talk.switched(from: 9) == "ask")
        #expect(talk.switched(from: 9) == "")
        _ = talk.answer(1, 1, epoch: 5)
        #expect(talk.answer(2, 1, epoch: 5) == "found h:1 epoch 5, ask")
    }

    @Test func `a master with a new epoch at the same place has moved, too`() {
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        #expect(talk.settle(on: 1, epoch: 6) == "found h:1 epoch 6, moved to h:1")
    }

    @Test func `while the master is missing the Sentinels are asked five times a second, else every ten seconds`() {
        let talk = MonitorTalk()
        _ = talk.settle(on: 1, epoch: 5)
        #expect(talk.wakeup == .seconds(10))
        talk.wait(.seconds(10))
        #expect(talk.fire() == "ask")
        for sentinel in 1...3 { _ = talk.answer(sentinel, 1, epoch: 5, flags: "s_down") }
        #expect(talk.wakeup == .milliseconds(200))
        talk.wait(.milliseconds(200))
        #expect(talk.fire() == "ask")
    }

    @Test func `what belongs to another round is ignored`() {
        let talk = MonitorTalk()
        _ = talk.want()
        let first = talk.round
        for sentinel in 1...3 { _ = talk.hear(sentinel, .failed("down", isRefusal: false)) }
        _ = talk.want()
        for sentinel in 1...3 { #expect(talk.answer(sentinel, 1, epoch: 1, round: first) == "") }
        _ = talk.answer(1, 1, epoch: 2)
        _ = talk.answer(2, 1, epoch: 2)
        #expect(talk.answer(3, 1, epoch: 2).hasPrefix("found"))
    }

    @Test func `a Sentinel that comes back has all asked again`() {
        let talk = MonitorTalk()
        #expect(talk.reach(1) == "")
        _ = talk.want()
        #expect(talk.reach(1) == "")
        _ = talk.hear(2, .failed("down", isRefusal: false))
        #expect(talk.reach(2) == "")
        _ = talk.answer(1, 1, epoch: 1)
        #expect(talk.answer(3, 1, epoch: 1) == "found h:1 epoch 1, moved to h:1, ask")
    }

    @Test func `a server that is no Sentinel is refused at first, and does no harm later`() {
        let talk = MonitorTalk()
        _ = talk.want()
        _ = talk.answer(1, 1, epoch: 1)
        #expect(talk.answer(2, 1, epoch: 1) == "")
        #expect(talk.hear(3, .foreign("this is no Sentinel")) == "refused: s3: this is no Sentinel")
        let running = MonitorTalk()
        _ = running.settle(on: 1, epoch: 1)
        _ = running.want()
        _ = running.hear(3, .foreign("this is no Sentinel"))
        _ = running.answer(1, 1, epoch: 1)
        #expect(running.answer(2, 1, epoch: 1) == "found h:1 epoch 1")
    }

    @Test func `a Sentinel that hangs delays the first decision by half a second, and later ones not at all`() {
        let talk = MonitorTalk()
        _ = talk.want()
        _ = talk.answer(1, 1, epoch: 1)
        #expect(talk.answer(2, 1, epoch: 1) == "")
        #expect(talk.wakeup == .milliseconds(500))
        talk.wait(.milliseconds(500))
        #expect(talk.fire() == "found h:1 epoch 1, moved to h:1")
        _ = talk.want()
        _ = talk.answer(1, 1, epoch: 1)
        #expect(talk.answer(2, 1, epoch: 1) == "found h:1 epoch 1")
    }

    @Test func `a name that the Sentinels do not know is refused`() {
        let talk = MonitorTalk()
        _ = talk.want()
        for sentinel in 1...2 { _ = talk.hear(sentinel, .answered(SentinelAnswer(address: nil, record: nil))) }
        #expect(talk.hear(3, .failed("down", isRefusal: false)) == "refused: the Sentinels know no master 'm'")
    }

    @Test func `refusals by a majority are a refusal, by a minority they are not`() {
        let talk = MonitorTalk()
        _ = talk.want()
        _ = talk.hear(1, .failed("wrong password", isRefusal: true))
        _ = talk.hear(2, .failed("wrong password", isRefusal: true))
        #expect(talk.answer(3, 1, epoch: 1).hasPrefix("refused"))
        _ = talk.want()
        _ = talk.hear(1, .failed("wrong password", isRefusal: true))
        _ = talk.hear(2, .failed("down", isRefusal: false))
        #expect(talk.answer(3, 1, epoch: 1).hasPrefix("failed"))
    }
}
