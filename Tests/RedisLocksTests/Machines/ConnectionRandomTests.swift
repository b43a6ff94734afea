import LockKernel
import LockTransport
import TestKit
import Testing

@testable import RedisLocks

/// Random conversations against what must hold in all of them.
@Suite struct ConnectionRandomTests {
    private typealias Instant = BootInstant

    @Test(arguments: 0..<300 as Range<UInt64>)
    func `each request ends exactly once, and with its own reply`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "h", port: 1))
        configuration.maximumInFlight = Int.random(in: 1...40, using: &random)
        configuration.silenceTimeout = .milliseconds(Int.random(in: 5...200, using: &random))
        var now = Instant.now
        var machine = RedisConnectionStateMachine<UInt64>(
            id: RedisConnectionID(rawValue: 1),
            configuration: configuration,
            connectDeadline: now + .seconds(5),
            now: now
        )
        guard case .check = machine.received(.hello()), case .nothing = machine.checked(refusal: nil),
            case .activate = machine.received(.text("PONG"))
        else {
            Issue.record("the handshake failed")
            return
        }

        // What a server knows: the requests that it has to answer, in order.
        var unanswered: [UInt64] = []
        var deadlines: [UInt64: Instant] = [:]
        var ended: [UInt64: String] = [:]
        var armedFor: Instant?
        var nextID: UInt64 = 0
        var closedBy: RedisError?

        func end(_ id: UInt64, _ how: String) {
            #expect(ended[id] == nil, "request \(id) ended as \(ended[id] ?? "") and as \(how)")
            ended[id] = how
        }
        func arm(_ instant: Instant?) {
            if let instant { armedFor = instant }
        }

        while closedBy == nil, nextID < 400 {
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                let id = nextID
                nextID += 1
                let deadline = now + .milliseconds(Int.random(in: 0...60, using: &random))
                deadlines[id] = deadline
                let request = RedisRequest(
                    id: RequestID(rawValue: id), command: RedisCommand("PING"), deadline: deadline, completion: id)
                switch machine.sent(request, now: now) {
                case .write: unanswered.append(id)
                case .fail(let error):
                    #expect(error.code == .notSent)
                    #expect(deadline <= now || unanswered.count == configuration.maximumInFlight)
                    end(id, "not sent")
                }
                arm(machine.timerToArm())
            case 45..<75:
                guard !unanswered.isEmpty else { continue }
                let id = unanswered.removeFirst()
                machine.heard(now: now)
                switch machine.received(.integer(Int64(id))) {
                case .complete(let completed, .success(let reply)):
                    #expect(completed == id)
                    #expect(reply.value == .integer(Int64(id)))
                    end(id, "reply")
                case .nothing:
                    #expect(ended[id] != nil, "the reply of request \(id), which has not ended, was swallowed")
                default:
                    Issue.record("a reply had another effect")
                }
            case 75..<80:
                machine.heard(now: now)
                guard case .push = machine.received(.push("message", "a", "b")) else {
                    Issue.record("a push had another effect")
                    return
                }
            case 80..<88:
                var ids: Set<RequestID> = []
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    ids.insert(RequestID(rawValue: UInt64.random(in: 0...nextID, using: &random)))
                }
                for id in machine.cancelled(ids) {
                    #expect(ids.contains(RequestID(rawValue: id)))
                    end(id, "cancelled")
                }
            default:
                now += .milliseconds(Int.random(in: 0...10, using: &random))
                guard let due = armedFor, due <= now else { continue }
                armedFor = nil
                switch machine.timerFired(now: now) {
                case .idle: #expect(unanswered.isEmpty)
                case .arm(let instant): arm(instant)
                case .expire(let ids, _, let instant):
                    for id in ids {
                        #expect(deadlines[id].map { $0 <= now } == true)
                        end(id, "timed out")
                    }
                    arm(instant)
                case .close(let error): closedBy = error
                }
            }
            #expect(machine.inFlightCount == unanswered.count)
            let open = unanswered.contains { ended[$0] == nil }
            #expect(closedBy != nil || !open || armedFor != nil, "a request is out and nothing watches its deadline")
        }

        let error = closedBy ?? RedisError(.outcomeUnknown, "the end")
        guard let action = machine.closed(error) else {
            Issue.record("it was closed before")
            return
        }
        for id in action.outstanding { end(id, "lost") }
        for id in 0..<nextID { #expect(ended[id] != nil, "request \(id) never ended") }
    }
}
