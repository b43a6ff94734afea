import DistributedLocks
import LockKernel
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

@Suite struct OwnerTextTests {
    private func text(_ owner: LockOwner, client: String) -> String {
        var bytes: [UInt8] = []
        owner.secret.withUnsafeBytes { Base64URL.encode($0) { bytes.append($0) } }
        return String(decoding: bytes + OwnerText.suffix(client: client, metadata: owner.metadata), as: UTF8.self)
    }

    private func owner(_ metadata: OwnerMetadata) -> LockOwner {
        var generator = SystemRandomNumberGenerator()
        return LockOwner(secret: LockOwner.Secret(using: &generator), metadata: metadata)
    }

    private func client() -> String {
        var generator = SystemRandomNumberGenerator()
        return OwnerText.randomClient(using: &generator)
    }

    @Test(arguments: [
        OwnerMetadata(host: "web-3", pid: 4711),
        OwnerMetadata(host: "web-3.example.org", pid: 1, label: "checkout"),
        OwnerMetadata(host: "", pid: 0, label: "a+q:b%c d"),
        OwnerMetadata(host: "ホスト", pid: 2, label: "naïve é \u{1F600}"),
    ])
    func `what people see comes back as it was`(metadata: OwnerMetadata) {
        let text = self.text(self.owner(metadata), client: self.client())
        #expect(OwnerText.metadata(of: text) == metadata)
        #expect(OwnerText.metadata(of: text + "+q") == metadata)
        #expect(OwnerText.metadata(of: text + "+q+r") == metadata)
        #expect(OwnerText.isBroken(text + "+q+r"))
        #expect(!OwnerText.isBroken(text + "+q"))
        #expect(!text.contains("+"))
    }

    @Test func `marks are found in any order, and only behind the owner`() {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            // What people see may look like a mark: it is written in another way.
            let label = ["", "a", "+r", "x+t+q", "r"].randomElement(using: &generator)
            let metadata = OwnerMetadata(host: "web-3", pid: 1, label: label)
            let owner = self.text(self.owner(metadata), client: self.client())
            let marks = ["q", "r", "t", "x", "q"].shuffled(using: &generator).prefix(
                .random(in: 0...5, using: &generator))
            let text = owner + marks.map { "+" + $0 }.joined()
            #expect(OwnerText.isBroken(text) == marks.contains("r"), "seed \(seed): \(marks)")
            #expect(OwnerText.isReserved(text) == marks.contains("t"), "seed \(seed): \(marks)")
            #expect(OwnerText.metadata(of: text)?.label == (label == "" ? nil : label))
        }
    }

    @Test func `long labels are cut between characters`() {
        let metadata = OwnerMetadata(host: "h", pid: 1, label: String(repeating: "ü", count: 1_000))
        let text = self.text(self.owner(metadata), client: self.client())
        #expect(text.utf8.count < 300)
        #expect(OwnerText.metadata(of: text)?.label == String(repeating: "ü", count: 64))
    }

    @Test(arguments: ["", "abc", "0123456789abcdef", "a:b:c:d:e", String(repeating: "a", count: 200), "x+q"])
    func `what another library writes has no metadata`(text: String) {
        #expect(OwnerText.metadata(of: text) == nil)
        #expect(!OwnerText.isBroken(text + "+r"))
    }

    @Test func `the secret is found again by its 27 characters`() {
        for _ in 0..<100 {
            let owner = self.owner(OwnerMetadata(host: "h", pid: 1))
            let text = self.text(owner, client: self.client())
            #expect(LockOwner.Secret(text: Array(text.utf8.prefix(27))) == owner.secret)
        }
        #expect(LockOwner.Secret(text: Array("too short".utf8)) == nil)
        #expect(LockOwner.Secret(text: Array(String(repeating: "!", count: 27).utf8)) == nil)
    }

    @Test func `two clients never have the same name`() {
        #expect(Set((0..<1_000).map { _ in self.client() }).count == 1_000)
        #expect(self.client().utf8.count == OwnerText.clientLength)
    }
}

@Suite struct ScriptReplyTests {
    private func bulk(_ text: String) -> RESPValue { .bulkString(ByteBuffer(string: text)) }

    @Test func `answers of acquire and touch`() throws {
        #expect(ClaimReply(.integer(42)) == .granted(try #require(FencingToken(rawValue: 42))))
        #expect(ClaimReply(.array([.integer(-3)])) == .gone)
        #expect(ClaimReply(.array([.integer(-2), .integer(9)])) == .full(waiters: 9))
        #expect(ClaimReply(.array([.integer(-1), .integer(5), self.bulk("x")])) == .busy(holder: "x"))
        #expect(
            ClaimReply(.array([.integer(0), .integer(1_000), self.bulk("x")]))
                == .queued(.init(place: 0, remaining: .milliseconds(1_000), holder: "x"))
        )
        #expect(
            ClaimReply(.array([.integer(3), .integer(-3), self.bulk("x")]))
                == .queued(.init(place: 3, remaining: .notLookedUp, holder: "x"))
        )
        #expect(
            ClaimReply(.array([.integer(-4), .integer(-1), self.bulk("")]))
                == .queued(.init(place: nil, remaining: .unlimited, holder: ""))
        )
    }

    @Test(arguments: [
        RESPValue.integer(0), .integer(-1), .null, .array([]), .array([.integer(-9)]), .array([.integer(-1)]),
        (.array([.integer(7), .integer(1)])), .array([.integer(1), .integer(-7), .null]), .boolean(true),
    ])
    func `an answer that is none of ours is refused`(value: RESPValue) {
        #expect(ClaimReply(value) == nil)
        #expect(RenewReply(value) == nil)
        #expect(StatusReply(value) == nil)
    }

    @Test func `messages on the client's channel`() throws {
        var generator = SystemRandomNumberGenerator()
        let secret = LockOwner.Secret(using: &generator)
        var text: [UInt8] = []
        secret.withUnsafeBytes { Base64URL.encode($0) { text.append($0) } }
        let owner = String(decoding: text, as: UTF8.self)
        func message(_ payload: String) -> PushedMessage? {
            PushedMessage([self.bulk("message"), self.bulk("channel"), self.bulk(payload)])
        }
        #expect(message("granted \(owner) 12") == .granted(secret, try #require(FencingToken(rawValue: 12))))
        #expect(message("revoked \(owner)") == .broken(secret))
        for payload in ["", "granted", "granted \(owner)", "granted \(owner) 0", "granted \(owner) 1 2", "granted x 1"]
        {
            #expect(message(payload) == nil)
        }
        #expect(PushedMessage([self.bulk("subscribe"), self.bulk("channel"), .integer(1)]) == nil)
        #expect(PushedMessage([]) == nil)
    }

    @Test func `with Sentinels a message has to tell its epoch, and the receiver has none to offer`() throws {
        var generator = SystemRandomNumberGenerator()
        let secret = LockOwner.Secret(using: &generator)
        var text: [UInt8] = []
        secret.withUnsafeBytes { Base64URL.encode($0) { text.append($0) } }
        let owner = String(decoding: text, as: UTF8.self)
        func message(_ payload: String) -> PushedMessage? {
            PushedMessage([self.bulk("message"), self.bulk("channel"), self.bulk(payload)], hasEpochs: true)
        }
        let token = try #require(FencingToken(rawValue: 6 << 47 | 12))
        #expect(message("granted \(owner) 12 6") == .granted(secret, token))
        #expect(
            message("granted \(owner) 12 0") == .granted(secret, try #require(FencingToken(rawValue: 12))))
        // From a client that knows nothing of the Sentinels: what it minted is too low.
        #expect(message("granted \(owner) 12") == .handedOver(secret))
        for payload in [
            "granted \(owner) 12 65536", "granted \(owner) 12 -1", "granted \(owner) 12 x", "granted \(owner) 0 6",
        ] {
            #expect(message(payload) == nil)
        }
    }

    @Test func `the epoch stands above the count, and neither may be too great`() {
        #expect(FencingToken(epoch: 0, count: 5)?.rawValue == 5)
        let first: Int64 = 1 << 47 + 5
        #expect(FencingToken(epoch: 1, count: 5)?.rawValue == first)
        #expect(FencingToken(epoch: 65_535, count: 1 << 47 - 1)?.rawValue == .max)
        #expect(FencingToken(epoch: 65_536, count: 5) == nil)
        #expect(FencingToken(epoch: -1, count: 5) == nil)
        #expect(FencingToken(epoch: 1, count: 0) == nil)
        #expect(FencingToken(epoch: 1, count: 1 << 47) == nil)
        #expect(FencingToken(epoch: 3, count: 1)! > FencingToken(epoch: 2, count: 1 << 47 - 1)!)
        #expect(ClaimReply(.integer(5), epoch: 2) == FencingToken(rawValue: 2 << 47 | 5).map { .granted($0) })
    }
}

@Suite struct ServerClockTests {
    private let start = BootInstant.now

    private func answer(
        _ clock: inout ServerClock,
        server: Int64,
        at seconds: Double,
        roundTrip: Double = 0.001
    ) -> Duration? {
        clock.answered(
            serverMilliseconds: server,
            sentAt: self.start + .seconds(seconds - roundTrip),
            receivedAt: self.start + .seconds(seconds)
        )
    }

    @Test func `a clock that runs is not reported, however slow the answers are`() {
        var clock = ServerClock(origin: self.start)
        for second in 1...100 {
            let roundTrip = second % 7 == 0 ? 0.9 : 0.001
            let server = Int64(second) * 1_000 + 1_000_000 - Int64(roundTrip * 500)
            #expect(self.answer(&clock, server: server, at: Double(second), roundTrip: roundTrip) == nil)
        }
    }

    @Test(arguments: [3_600_000, -3_600_000, 1_000, -1_000] as [Int64])
    func `a step is reported once, with its size`(step: Int64) throws {
        var clock = ServerClock(origin: self.start)
        #expect(self.answer(&clock, server: 5_000_000, at: 1) == nil)
        let found = try #require(self.answer(&clock, server: 5_010_000 + step, at: 11))
        #expect(abs(found / .milliseconds(1) - Double(step)) < 10)
        #expect(self.answer(&clock, server: 5_020_000 + step, at: 21) == nil)
    }
}
