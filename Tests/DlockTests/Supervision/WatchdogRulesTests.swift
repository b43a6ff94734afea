import CSupervision
import Testing

@Suite struct WatchdogRulesTests {
    private let millisecond: Int64 = 1_000_000

    private func rules(deadline: Int64, grace: Int64) -> csup_rules {
        csup_rules_begin(deadline * millisecond, grace * millisecond)
    }

    private func decide(_ rules: inout csup_rules, at now: Int64) -> (action: csup_action, wakeAt: Int64) {
        let decision = csup_rules_decide(&rules, now * millisecond)
        return (decision.action, decision.wake_at_ns / millisecond)
    }

    @Test func `a renewed command is left alone, and looked at again when its grace begins`() {
        var rules = rules(deadline: 1000, grace: 400)
        #expect(decide(&rules, at: 0) == (CSUP_DO_WAIT, 600))
        #expect(decide(&rules, at: 599) == (CSUP_DO_WAIT, 600))
        csup_rules_deadline_moved(&rules, 2000 * millisecond)
        #expect(decide(&rules, at: 600) == (CSUP_DO_WAIT, 1600))
    }

    @Test func `when the deadline comes near it is asked to stop, and killed 100 ms before it`() {
        var rules = rules(deadline: 1000, grace: 400)
        #expect(decide(&rules, at: 600) == (CSUP_DO_TERMINATE, 900))
        #expect(decide(&rules, at: 899) == (CSUP_DO_TERMINATE, 900))
        #expect(decide(&rules, at: 900).action == CSUP_DO_KILL)
    }

    @Test func `with little grace a quarter of it is kept for killing`() {
        var rules = rules(deadline: 1000, grace: 40)
        #expect(decide(&rules, at: 0) == (CSUP_DO_WAIT, 960))
        #expect(decide(&rules, at: 960) == (CSUP_DO_TERMINATE, 990))
    }

    @Test func `after a suspend past the deadline it is killed at once`() {
        var rules = rules(deadline: 1000, grace: 400)
        #expect(decide(&rules, at: 0).action == CSUP_DO_WAIT)
        #expect(decide(&rules, at: 50_000).action == CSUP_DO_KILL)
    }

    @Test func `the death of dlock is answered at once, and with SIGKILL after the grace`() {
        var rules = rules(deadline: 10_000, grace: 400)
        csup_rules_dlock_died(&rules)
        #expect(decide(&rules, at: 5) == (CSUP_DO_TERMINATE, 405))
        #expect(decide(&rules, at: 405).action == CSUP_DO_KILL)
    }

    @Test func `the hard limit holds when it comes before the end of the grace`() {
        var rules = rules(deadline: 1000, grace: 400)
        csup_rules_terminate_asked(&rules)
        #expect(decide(&rules, at: 550) == (CSUP_DO_TERMINATE, 900))
        csup_rules_deadline_moved(&rules, 800 * millisecond)
        #expect(decide(&rules, at: 560) == (CSUP_DO_TERMINATE, 700))
    }

    @Test func `a late renewal does not call off what has begun, nor hasten it`() {
        var rules = rules(deadline: 1000, grace: 400)
        #expect(decide(&rules, at: 700).action == CSUP_DO_TERMINATE)
        csup_rules_deadline_moved(&rules, 9000 * millisecond)
        #expect(decide(&rules, at: 710) == (CSUP_DO_TERMINATE, 1100))
    }

    @Test func `what a command leaves behind is stopped, and is not held against it`() {
        var rules = rules(deadline: 10_000, grace: 400)
        csup_rules_leader_exited(&rules)
        #expect(decide(&rules, at: 0) == (CSUP_DO_TERMINATE, 10))
        #expect(decide(&rules, at: 10) == (CSUP_DO_TERMINATE, 30))
        #expect(decide(&rules, at: 30) == (CSUP_DO_TERMINATE, 70))
        #expect(decide(&rules, at: 400).action == CSUP_DO_KILL)
        csup_rules_group_emptied(&rules)
        #expect(decide(&rules, at: 401).action == CSUP_DO_FINISH)
        #expect(!rules.stopped_by_watchdog)
    }

    @Test func `looking again gets rarer, to once in 100 ms`() {
        var rules = rules(deadline: 1_000_000, grace: 100_000)
        csup_rules_leader_exited(&rules)
        var gaps: [Int64] = []
        var now: Int64 = 0
        for _ in 0..<6 {
            let next = decide(&rules, at: now).wakeAt
            gaps.append(next - now)
            now = next
        }
        #expect(gaps == [10, 20, 40, 80, 100, 100])
    }

    @Test func `a command that was asked to stop counts as stopped, whatever it then exits with`() {
        var rules = rules(deadline: 10_000, grace: 400)
        csup_rules_terminate_asked(&rules)
        _ = decide(&rules, at: 0)
        csup_rules_leader_exited(&rules)
        csup_rules_group_emptied(&rules)
        #expect(decide(&rules, at: 1).action == CSUP_DO_FINISH)
        #expect(rules.stopped_by_watchdog)
    }

    @Test func `a command that ended when it was being asked to stop counts as stopped, as nobody knows the order`() {
        var rules = rules(deadline: 10_000, grace: 400)
        csup_rules_terminate_asked(&rules)
        csup_rules_leader_exited(&rules)
        csup_rules_group_emptied(&rules)
        #expect(decide(&rules, at: 0).action == CSUP_DO_FINISH)
        #expect(rules.stopped_by_watchdog)
    }

    @Test(arguments: [Int64.min, -1, 0, 1, .max], [Int64.min, -1, 0, 1, .max])
    func `no deadline or grace, however absurd, overflows`(deadline: Int64, grace: Int64) {
        for now in [Int64.min, -1, 0, 1, .max] {
            var rules = csup_rules_begin(deadline, grace)
            _ = csup_rules_decide(&rules, now)
            csup_rules_dlock_died(&rules)
            _ = csup_rules_decide(&rules, now)
            #expect(csup_rules_soft_limit_ns(&rules) <= csup_rules_hard_limit_ns(&rules))
            #expect(csup_rules_hard_limit_ns(&rules) <= deadline)
        }
    }

    /// Every order of up to five steps, each an event or the passing of time.
    @Test func `whatever happens in whatever order, no command is left alone too long, or killed too soon`() {
        var model = RulesModel()
        model.explore(depth: 5)
        #expect(model.seen == 9 * (1 + 9 + 81 + 729 + 6561))
    }
}

/// Checks the rules, by themselves stateful, against what must hold of any history.
private struct RulesModel {
    private enum Step: CaseIterable {
        case tick, leapToGrace, leapToHardLimit, leapFar, extend, dlockDies, terminate, leaderExits, groupEmpties
    }

    private static let grace: Int64 = 400
    private var rules = csup_rules_begin(1000, grace)
    private var now: Int64 = 0
    private var reasonSince: Int64?
    private(set) var seen = 0

    mutating func explore(depth: Int) {
        guard depth > 0 else { return }
        for step in Step.allCases {
            var next = self
            next.seen = 0
            next.take(step)
            next.check()
            next.seen = 1
            next.explore(depth: depth - 1)
            seen += next.seen
        }
    }

    private mutating func take(_ step: Step) {
        switch step {
        case .tick: now += 1
        case .leapToGrace: now = max(now, csup_rules_soft_limit_ns(&rules))
        case .leapToHardLimit: now = max(now, csup_rules_hard_limit_ns(&rules))
        case .leapFar: now += 5000
        case .extend: csup_rules_deadline_moved(&rules, now + 1000)
        case .dlockDies: csup_rules_dlock_died(&rules)
        case .terminate: csup_rules_terminate_asked(&rules)
        case .leaderExits: csup_rules_leader_exited(&rules)
        case .groupEmpties: csup_rules_group_emptied(&rules)
        }
    }

    private mutating func check() {
        let known = rules
        let decision = csup_rules_decide(&rules, now)
        let soft = csup_rules_soft_limit_ns(&rules)
        let hard = csup_rules_hard_limit_ns(&rules)
        let isOver = known.leader_exited && known.group_empty
        let hasReason = known.dlock_dead || known.terminate_asked || known.leader_exited || now >= soft
        if reasonSince == nil, hasReason, !isOver { reasonSince = now }

        // An expectation costs too much to state it a hundred thousand times when it holds.
        func expect(_ condition: Bool) {
            if !condition { Issue.record("\(known) at \(now): \(decision)") }
        }
        expect((decision.action == CSUP_DO_FINISH) == isOver)
        guard !isOver else { return }
        guard let reasonSince else {
            expect(decision.action == CSUP_DO_WAIT)
            expect(decision.wake_at_ns == soft && now < soft)
            return
        }
        let killAt = min(reasonSince + Self.grace, hard)
        expect(decision.action == (now >= killAt ? CSUP_DO_KILL : CSUP_DO_TERMINATE))
        expect(decision.wake_at_ns > now)
        expect(now >= killAt || decision.wake_at_ns <= killAt)
    }
}
