import LockKernel

@testable import RedisLocks

extension RedlockMachine {
    /// Feeds what an instance has answered, as the shell does.
    mutating func answered(
        _ request: Request, by index: Int, _ result: Result<RedisReply, RedisError>, now: BootInstant
    ) {
        switch request {
        case .lock(let proposal):
            self.roundAnswered(
                proposal.number, of: proposal.claim, by: index, result.read { InstanceAcquireReply($0) }, now: now)
        case .release(let release):
            switch result.read({ $0.int }) {
            case .success(let answer):
                self.releaseAnswered(release.election, isProbe: release.isProbe, by: index, answer, now: now)
            case .failure(let error): self.releaseFailed(release, by: index, error, now: now)
            }
        case .renew(let renewal): self.renewalAnswered(renewal, by: index, result.read { $0.int }, now: now)
        case .turn(let turn): self.turnAnswered(turn, by: index, result.read { ClaimReply($0) }, now: now)
        case .introduction(let look):
            self.introductionAnswered(look: look, by: index, result.read { InstanceInfo($0) }, now: now)
        case .node(let node): self.nodeAnswered(node, by: index, result.read { InstanceNodeReply($0) }, now: now)
        case .nothing: break
        }
    }
}
