import Testing

@testable import ZooKeeperLocks

@Suite struct DataWatchesTests {
    private typealias Group = DataWatchesStateMachine.Group

    /// The machine, for use within an expectation.
    private final class Watches {
        var machine = DataWatchesStateMachine()

        init(_ paths: String...) { for path in paths { self.machine.watched(path) } }

        func attached(_ zxid: Int64) -> [Group] { self.machine.attached(zxid: zxid) }
        func carriedOut() -> Bool { self.machine.answered(isRefused: false) }
        func refused() -> Bool { self.machine.answered(isRefused: true) }
        func askedAgain(_ group: Group) -> [Group] { self.machine.askedAgain(group) }
    }

    @Test func `on each connection those are set again that have not fired`() {
        let watches = Watches("/b", "/a", "/c")
        watches.machine.ended("/c")
        #expect(watches.attached(7) == [Group(paths: ["/a", "/b"], zxid: 7)])
        #expect(!watches.carriedOut())
        watches.machine.watched("/d")
        #expect(watches.attached(9) == [Group(paths: ["/a", "/b", "/d"], zxid: 9)])
    }

    @Test func `without any nothing is asked`() {
        #expect(Watches().attached(7).isEmpty)
    }

    @Test func `what a server refuses is asked again as of the same transaction, as far as it is wanted`() throws {
        let watches = Watches("/a", "/b")
        let group = try #require(watches.attached(7).first)
        #expect(watches.refused())
        watches.machine.ended("/a")
        #expect(watches.askedAgain(group) == [Group(paths: ["/b"], zxid: 7)])
        #expect(watches.refused())
        #expect(watches.askedAgain(group) == [Group(paths: ["/b"], zxid: 7)])
        #expect(!watches.carriedOut())
    }

    @Test func `what was not set on one connection is set on the next one as of the transaction before both`() {
        let watches = Watches("/a")
        #expect(watches.attached(7).count == 1)
        #expect(watches.refused())
        #expect(watches.attached(12) == [Group(paths: ["/a"], zxid: 7)])
        // When all are set, nothing was missed.
        #expect(!watches.carriedOut())
        #expect(watches.attached(20) == [Group(paths: ["/a"], zxid: 20)])
    }

    @Test func `when nobody wants to hear of what was refused any more, all are set`() throws {
        let watches = Watches("/a")
        let group = try #require(watches.attached(7).first)
        #expect(watches.refused())
        watches.machine.ended("/a")
        #expect(watches.askedAgain(group).isEmpty)
        watches.machine.watched("/b")
        #expect(watches.attached(9) == [Group(paths: ["/b"], zxid: 9)])
    }

    @Test func `many are set by several requests, and are set when the last one is answered`() {
        let watches = Watches()
        let long = String(repeating: "x", count: 1_000)
        for number in 0..<300 { watches.machine.watched("/\(number)-\(long)") }
        let groups = watches.attached(7)
        #expect(groups.count == 3)
        #expect(Set(groups.flatMap(\.paths)).count == 300)
        #expect(!watches.carriedOut())
        #expect(watches.refused())
        #expect(!watches.carriedOut())
        #expect(watches.attached(9).first?.zxid == 7)
        for _ in groups { #expect(!watches.carriedOut()) }
        #expect(watches.attached(11).first?.zxid == 11)
    }

    @Test func `another session has none`() {
        let watches = Watches("/a")
        #expect(watches.attached(7).count == 1)
        watches.machine.sessionEnded()
        #expect(!watches.refused())
        #expect(watches.attached(9).isEmpty)
    }
}
