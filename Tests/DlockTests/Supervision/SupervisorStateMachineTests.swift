import Testing

@testable import Supervision

@Suite struct SupervisorStateMachineTests {
    private typealias Machine = SupervisorStateMachine

    @Test func `a command starts, stops, goes on and ends`() {
        var machine = Machine()
        #expect(machine.messageArrived(.forked(42)).isNone)
        #expect(machine.group == 42)
        #expect(machine.messageArrived(.started(42)).start == .started(42))
        #expect(machine.messageArrived(.stopped(20, continues: 0)).event == .stopped(signal: 20))
        #expect(machine.messageArrived(.continued).event == .continued)
        #expect(machine.messageArrived(.finished(.exited(code: 3), stoppedByWatchdog: false)).isNone)
        #expect(machine.socketClosed() == .reapWatchdog)
        #expect(machine.watchdogReaped().last == .exited(.exited(code: 3), stoppedByWatchdog: false))
        #expect(machine.group == nil)
    }

    @Test func `a stop is over when the command was continued, or is about to be`() {
        var machine = Machine()
        _ = machine.messageArrived(.forked(42))
        _ = machine.messageArrived(.started(42))
        let whileRunning = machine.continueWanted()
        #expect(!whileRunning)
        _ = machine.messageArrived(.stopped(20, continues: 0))
        #expect(machine.isStopped)
        let (first, second) = (machine.continueWanted(), machine.continueWanted())
        #expect(first && !second, "one stop is answered once")
        #expect(!machine.isStopped)
        // Sent before the watchdog had the request.
        _ = machine.messageArrived(.stopped(21, continues: 0))
        #expect(!machine.isStopped)
        _ = machine.messageArrived(.stopped(21, continues: 1))
        #expect(machine.isStopped)
        _ = machine.messageArrived(.continued)
        #expect(!machine.isStopped)
    }

    @Test func `a SIGCONT continues a command only if its stop was accepted`() {
        var machine = Machine()
        _ = machine.messageArrived(.forked(42))
        _ = machine.messageArrived(.started(42))
        _ = machine.messageArrived(.stopped(19, continues: 0))
        let late = machine.continueArrived()
        #expect(!late && machine.isStopped)
        machine.acceptStop()
        let (first, second) = (machine.continueArrived(), machine.continueArrived())
        #expect(first && !second)
        machine.acceptStop()
        _ = machine.messageArrived(.stopped(20, continues: 1))
        let another = machine.continueArrived()
        #expect(!another, "this stop is another one")
    }

    @Test func `a command that cannot be executed fails to start when the watchdog is gone`() {
        var machine = Machine()
        _ = machine.messageArrived(.forked(42))
        #expect(machine.messageArrived(.execFailed(errno: 2)).isNone)
        #expect(machine.start == nil)
        #expect(machine.socketClosed() == .reapWatchdog)
        #expect(machine.watchdogReaped().start == .failed(.notExecutable(errno: 2)))
    }

    @Test func `a deadline that is too near fails to start it`() {
        var machine = Machine()
        _ = machine.messageArrived(.notStarted)
        _ = machine.socketClosed()
        #expect(machine.watchdogReaped().start == .failed(.tooLate))
    }

    @Test func `a watchdog that dies before it forks leaves nothing to kill`() {
        var machine = Machine()
        #expect(machine.socketClosed() == .reportDeath)
        #expect(machine.killedGroupGone().start == .failed(.watchdogDied))
    }

    @Test func `the group of a watchdog that dies is killed, started or not`() {
        var starting = Machine()
        _ = starting.messageArrived(.forked(42))
        #expect(starting.socketClosed() == .killGroup(42))
        #expect(starting.watchdogReaped().isNone)
        #expect(starting.killedGroupGone().start == .failed(.watchdogDied))

        var running = Machine()
        _ = running.messageArrived(.forked(42))
        _ = running.messageArrived(.started(42))
        #expect(running.socketClosed() == .killGroup(42))
        #expect(running.watchdogReaped().isNone)
        #expect(running.killedGroupGone().last == .watchdogDied)
    }

    @Test func `a slow reader misses old events, never the last one`() async {
        var queue = EventQueue()
        for signal in 1...40 { #expect(queue.push(.stopped(signal: Int32(signal)), isLast: false) == nil) }
        #expect(queue.push(.watchdogDied, isLast: true) == nil)
        var events: [Supervisor.Event] = []
        while let event = await withCheckedContinuation({ reader in
            switch queue.next(reader) {
            case .now(let event): reader.resume(returning: event)
            case .later: Issue.record("the queue is not finished")
            }
        }) {
            events.append(event)
        }
        #expect(events.count == EventQueue.capacity)
        #expect(events.first == .stopped(signal: 26))
        #expect(events.last == .watchdogDied)
    }

    @Test func `a deadline is never converted to a later one`() {
        for offset in [Duration.zero, .seconds(30), .seconds(-30), .nanoseconds(1), .seconds(1 << 60)] {
            let instant = ContinuousClock.now + offset
            let nanoseconds = BoottimeInstant.nanoseconds(at: instant)
            let again = BoottimeInstant.nanoseconds(at: instant)
            // Both are early by what passes between two readings of the clock, and no more.
            #expect(abs(again.subtractingReportingOverflow(nanoseconds).partialValue) < 100_000_000)
        }
        #expect(BoottimeInstant.nanoseconds(in: .nanoseconds(-1)) == -1)
        #expect(BoottimeInstant.nanoseconds(in: Duration(secondsComponent: 0, attosecondsComponent: -1)) == -1)
        #expect(BoottimeInstant.nanoseconds(in: Duration(secondsComponent: 0, attosecondsComponent: 1)) == 0)
        #expect(BoottimeInstant.nanoseconds(in: .seconds(Int64.max)) == .max)
    }
}

extension SupervisorStateMachine.MessageAction {
    fileprivate var isNone: Bool {
        if case .none = self { true } else { false }
    }

    fileprivate var start: SupervisorStateMachine.Start? {
        if case .settleStart(let start, _) = self { start } else { nil }
    }

    fileprivate var event: Supervisor.Event? {
        if case .yield(let event) = self { event } else { nil }
    }

    fileprivate var last: Supervisor.Event? {
        if case .end(let event) = self { event } else { nil }
    }
}
