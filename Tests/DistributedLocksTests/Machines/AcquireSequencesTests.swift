import LockKernel
import TestKit
import Testing

@testable import DistributedLocks

/// All that can happen to one attempt, in all orders, up to a length.
@Suite struct AcquireSequencesTests {
    private enum Event: CaseIterable {
        case replyGranted, replyQueued, replyBusy
        case outcomeUnknown, unreachable, requestCancelled
        case pushGranted, pushGone, pushFailed, pushHeld
        case retry
        case deadline, cancel, stop
    }

    /// One attempt and what the world knows of it.
    private struct World {
        var machine = AcquireStateMachine(deadline: nil)
        var isRequestOut = true
        var isBackingOff = false
        /// How many ends the caller was told.
        var ends = 0
        var grantsDelivered = 0
        /// A grant was heard that has been neither delivered nor withdrawn.
        var isGrantOrphaned = false
        /// The store may have a place or a grant for this claim.
        var mayBeOnStore = false
        var history: [Event] = []

        func allows(_ event: Event) -> Bool {
            switch event {
            case .replyGranted, .replyQueued, .replyBusy, .outcomeUnknown, .unreachable, .requestCancelled:
                self.isRequestOut
            case .retry: self.isBackingOff
            case .pushGranted, .pushGone, .pushFailed, .pushHeld, .deadline, .cancel, .stop: true
            }
        }

        mutating func take(_ event: Event, grant: LockGrant) {
            self.history.append(event)
            switch event {
            case .replyGranted:
                self.isRequestOut = false
                self.heardGrant()
                self.perform(self.machine.replyArrived(.granted(grant)))
            case .replyQueued:
                self.isRequestOut = false
                self.mayBeOnStore = true
                self.perform(self.machine.replyArrived(.queued(QueuePlace(waitersAhead: nil, holders: []))))
            case .replyBusy:
                self.isRequestOut = false
                self.perform(self.machine.replyArrived(.busy(holders: [])))
            case .outcomeUnknown:
                self.isRequestOut = false
                self.mayBeOnStore = true
                self.fail(.outcomeUnknown)
            case .unreachable:
                self.isRequestOut = false
                self.fail(.unreachable)
            case .requestCancelled:
                self.isRequestOut = false
                self.fail(.cancelled)
            case .pushGranted:
                self.heardGrant()
                self.perform(self.machine.granted(grant))
            case .pushHeld:
                _ = self.machine.held(by: [])
            case .pushGone:
                self.perform(self.machine.gone())
            case .pushFailed:
                self.perform(self.machine.failed(LockError(.unreachable, "")))
            case .retry:
                self.isBackingOff = false
                self.isRequestOut = self.machine.retryStarted()
                #expect(self.isRequestOut == (self.ends == 0), "\(self.history)")
            case .deadline: self.perform(self.machine.deadlinePassed())
            case .cancel: self.perform(self.machine.cancelled())
            case .stop: self.perform(self.machine.clientStopped())
            }
        }

        private mutating func heardGrant() {
            self.mayBeOnStore = true
            if self.grantsDelivered == 0 { self.isGrantOrphaned = true }
        }

        private mutating func fail(_ code: LockError.Code) {
            switch self.machine.requestFailed(LockError(code, ""), now: start, jitter: 0.5) {
            case .finish(let outcome): self.end(outcome)
            case .retry: self.isBackingOff = true
            case .withdraw: self.withdraw()
            }
        }

        private mutating func perform(_ action: AcquireStateMachine.ReplyAction) {
            switch action {
            case .finish(let outcome): self.end(outcome)
            case .wait: break
            case .startAnew: self.startAnew()
            case .withdraw: self.withdraw()
            }
        }

        private mutating func perform(_ action: AcquireStateMachine.EventAction) {
            switch action {
            case .finish(let outcome): self.end(outcome)
            case .startAnew: self.startAnew()
            case .none: break
            case .withdraw: self.withdraw()
            }
        }

        private mutating func end(_ outcome: AcquireStateMachine.Outcome) {
            self.ends += 1
            switch outcome {
            case .granted:
                #expect(self.isGrantOrphaned, "a grant out of nothing: \(self.history)")
                self.grantsDelivered += 1
                self.isGrantOrphaned = false
            case .failed(_, withdraw: true):
                self.withdraw()
            case .failed(_, withdraw: false):
                #expect(!self.mayBeOnStore, "something may be left on the store: \(self.history)")
                #expect(!self.isRequestOut, "a request is out: \(self.history)")
            }
        }

        private mutating func startAnew() {
            self.ends += 1
            // The store said that it knows nothing of this claim.
            self.mayBeOnStore = false
        }

        private mutating func withdraw() {
            #expect(self.grantsDelivered == 0, "withdrawn under its holder: \(self.history)")
            self.isGrantOrphaned = false
        }

        func check() {
            #expect(self.ends <= 1, "two ends: \(self.history)")
            #expect(self.machine.isFinished == (self.ends == 1), "\(self.history)")
            // A grant is with nobody only while the reply is out that will be told of it.
            if self.isGrantOrphaned { #expect(self.isRequestOut && self.ends == 0, "an orphan: \(self.history)") }
        }
    }

    @Test func `no order of events leaves a grant to nobody, or ends an attempt twice`() async throws {
        let grant = try LockGrant.test()
        // That takes seconds: not on a thread that others need.
        let count = try await awayFromThePool {
            #expect(isAwayFromThePool)
            var count = 0
            func explore(_ world: World, depth: Int) {
                count += 1
                world.check()
                guard depth > 0 else { return }
                for event in Event.allCases where world.allows(event) {
                    var next = world
                    next.take(event, grant: grant)
                    explore(next, depth: depth - 1)
                }
            }
            explore(World(), depth: 6)
            return count
        }
        #expect(count > 100_000)
    }
}
