import DistributedLocks
import NIOCore

/// What is known of the instances, and how many of them decide.
struct RedlockStanding {
    let quorum: Int
    /// How many members the set has, by the policy that is used.
    let memberCount: Int
    var instances: [InstanceStanding]
}

/// What is known of one instance.
struct InstanceStanding {
    let index: Int
    let name: String
    /// Why it may not be asked for locks now; `nil` if it may.
    let closed: String?
    /// No attempt to connect has ended: the connection knows more.
    let isUntried: Bool
    let runID: String
    /// What was found when it was looked at last.
    let found: InstanceNodeReply?
    let refusal: RedlockInstanceStateMachine.Refusal?
    var isConnected = false
    /// Why nothing can be asked there yet, by the connection, while the first attempt is under way.
    var silence: String?

    /// Why it cannot be asked now; `nil` if it can.
    var reason: String? { self.isUntried ? self.silence ?? self.closed : self.closed }
}

/// The instances of a Redlock, for who asks them something by hand: what people want to know, what `dlock init` changes. Lives on one
/// event loop.
protocol RedlockInstances: AnyObject {
    /// As they are known now.
    var standing: RedlockStanding { get }
    /// What makes the whole Redlock unusable.
    var refusal: LockError? { get }
    /// - Parameter then: called once, on the event loop.
    func ask(_ command: RedisCommand, of index: Int, then: @escaping (Result<RedisReply, RedisError>) -> Void)
}

extension RedlockInstances {
    typealias Exchange = Result<RedisReply, RedisError>

    /// Asks all instances that can be reached the same thing.
    func askAll(
        _ script: RedisScript,
        key: String,
        _ arguments: [ScriptArgument],
        then: @escaping ([Result<RESPValue, LockError>]) -> Void
    ) {
        let command = script.command(key: key, arguments)
        self.gather(
            { instance, done in
                self.ask(command, of: instance.index) { done($0.map(\.value).mapError { LockError($0) }) }
            }, then: then)
    }

    /// Lets all instances that can be reached do something, and waits for all of them.
    func gather<Value>(
        _ ask: (InstanceStanding, @escaping (Result<Value, LockError>) -> Void) -> Void,
        then: @escaping ([Result<Value, LockError>]) -> Void
    ) {
        let instances = self.standing.instances
        var answers: [Result<Value, LockError>?] = Array(repeating: nil, count: instances.count)
        func answered(_ index: Int, _ answer: Result<Value, LockError>) {
            answers[index] = answer
            if answers.allSatisfy({ $0 != nil }) { then(answers.compactMap { $0 }) }
        }
        for instance in instances {
            guard instance.isConnected else {
                answered(
                    instance.index, .failure(LockError(.unreachable, instance.reason ?? "not connected")))
                continue
            }
            ask(instance) { answered(instance.index, $0) }
        }
    }

    /// - Parameters:
    ///   - mode: what to do about the node: see Scripts/Lua/instance-node.lua.
    ///   - policy: that it has, or gets.
    func askNode(
        of instance: InstanceStanding, _ mode: String, _ policy: RedlockPolicy,
        _ change: RedlockMachine.NodeRequest.Change? = nil, then: @escaping (Exchange) -> Void
    ) {
        let request = RedlockMachine.NodeRequest(
            purpose: .byHand, mode: mode, policy: policy, runID: instance.runID, change: change)
        self.ask(InstanceEncodings.command(request), of: instance.index, then: then)
    }
}
