import LockKernel
import LockTransport
import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// Random lives of a client against what must hold in all of them.
@Suite struct ClientRandomTests {
    private typealias Instant = BootInstant
    private typealias Machine = RedisClientStateMachine<Int, UInt64>

    private struct Life {
        var random: SeededGenerator
        var now = Instant.now
        var nextID: UInt64 = 0
        var deadlines: [UInt64: Instant] = [:]
        var ended: [UInt64: String] = [:]
        /// What went to a connection, in order.
        var sent: [UInt64] = []
        var isRefused = false
        var armedFor: Instant?

        mutating func end(_ id: UInt64, _ how: String) {
            #expect(self.ended[id] == nil, "request \(id) ended as \(self.ended[id] ?? "") and as \(how)")
            self.ended[id] = how
        }

        mutating func end(_ failed: Machine.Failed?, _ code: RedisError.Code) {
            guard let failed else { return }
            #expect(failed.error.code == code)
            for id in failed.completions { self.end(id, "\(code)") }
        }
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func `each request is sent or fails exactly once, in order, and none outlives its deadline unnoticed`(seed: UInt64)
    {
        var life = Life(random: SeededGenerator(seed: seed))
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "h", port: 1))
        configuration.maximumWaiting = Int.random(in: 1...30, using: &life.random)
        configuration.backoffCap = .milliseconds(100)
        var machine = Machine(configuration)
        var lastConnection: RedisConnectionID?
        if let id = machine.started() { lastConnection = id }

        for _ in 0..<500 {
            switch Int.random(in: 0..<100, using: &life.random) {
            case 0..<40: self.submit(&machine, &life, configuration)
            case 40..<50:
                guard life.nextID > 0 else { continue }
                let id = UInt64.random(in: 0..<life.nextID, using: &life.random)
                life.end(machine.cancelled([RequestID(rawValue: id)]), .cancelled)
            case 50..<70: self.connectOrEnd(&machine, &life)
            default:
                life.now += .milliseconds(Int.random(in: 0...20, using: &life.random))
                guard let due = life.armedFor, due <= life.now else { continue }
                life.armedFor = nil
                let action = machine.timerFired(now: life.now)
                for id in action.expired?.completions ?? [] {
                    #expect(life.deadlines[id].map { $0 <= life.now } == true)
                }
                life.end(action.expired, .notSent)
                if let id = action.connect {
                    #expect(lastConnection.map { $0 < id } ?? true)
                    lastConnection = id
                }
            }
            // As the shell does after each batch of events.
            if machine.isTimed, let instant = machine.timerToArm(now: life.now) { life.armedFor = instant }
            #expect(machine.waitingCount == Int(life.nextID) - life.ended.count - life.sent.count)
            #expect(
                machine.waitingCount == 0 || life.armedFor != nil, "a request waits and nothing watches its deadline")
            #expect(machine.waitingCount <= configuration.maximumWaiting)
        }
        switch machine.stopped() {
        case .closeConnection(_, let waiting), .abandonAttempt(let waiting), .finish(let waiting):
            life.end(waiting, .notSent)
        case .nothing: Issue.record("it was stopped before")
        }
        #expect(life.sent == life.sent.sorted())
        #expect(life.ended.count + life.sent.count == Int(life.nextID))
    }

    private func submit(
        _ machine: inout Machine,
        _ life: inout Life,
        _ configuration: RedisClientConfiguration
    ) {
        let id = life.nextID
        life.nextID += 1
        let deadline = life.now + .milliseconds(Int.random(in: 0...80, using: &life.random))
        life.deadlines[id] = deadline
        let request = RedisRequest(
            id: RequestID(rawValue: id),
            command: RedisCommand("PING"),
            deadline: deadline,
            completion: id
        )
        switch machine.submitted(request, now: life.now) {
        case .send: life.sent.append(id)
        case .wait: #expect(!life.isRefused)
        case .fail(let error):
            #expect(error.code == (life.isRefused ? .unusableServer : .notSent))
            #expect(
                life.isRefused || deadline <= life.now || machine.waitingCount == configuration.maximumWaiting
            )
            life.end(id, "\(error.code)")
        }
    }

    private func connectOrEnd(_ machine: inout Machine, _ life: inout Life) {
        switch machine.summary {
        case .connecting where Bool.random(using: &life.random):
            let isWanted = machine.connected(0, now: life.now)
            #expect(isWanted)
            life.isRefused = false
            life.sent += machine.takeWaiting().map { $0.id.rawValue }
        case .connecting, .connected:
            let wasConnecting = machine.summary == .connecting
            let code: RedisError.Code = Bool.random(using: &life.random) ? .unusableServer : .notSent
            life.isRefused = wasConnecting && code == .unusableServer
            let error = RedisError(code, "the end")
            switch machine.ended(error, now: life.now, random: .random(in: 0..<1, using: &life.random)) {
            case .retry(let failed): life.end(failed, .unusableServer)
            case .finish: Issue.record("nobody stopped it")
            }
        case .idle, .backingOff, .stopped: break
        }
    }
}
