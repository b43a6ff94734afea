import CSimulator
import Dispatch

/// The threads of a world whose steps may wait in their middle. One at a time runs, and it says which one runs next: so they are as
/// good as one thread, with as many stacks as there are steps that wait.
///
/// The one that runs does the world's steps, until one of them has to wait. Then another one does them, and gives the turn back when
/// the wait is over.
///
/// Whoever has the turn uses it; a semaphore passes the turn on.
final class StepThreads: @unchecked Sendable {
    enum Turn {
        /// The step has ended.
        case isDone
        /// Nothing more is to be done now.
        case isOver
        /// This one has waited long enough.
        case goesOn(One)
    }

    final class One {
        fileprivate let turn = DispatchSemaphore(value: 0)
        fileprivate unowned let all: StepThreads

        fileprivate init(_ all: StepThreads) { self.all = all }
    }

    static let shared = StepThreads()

    /// The one that runs; `nil` where the turn is with who called ``run(_:)``.
    private(set) var current: One?
    private var idle: [One] = []
    private let caller = DispatchSemaphore(value: 0)
    private var step: (() -> Turn)?

    /// Does steps until nothing more is to be done.
    func run(_ step: @escaping () -> Turn) {
        self.step = step
        self.takeIdle().turn.signal()
        self.caller.wait()
        self.step = nil
    }

    /// In the middle of a step: lets others go on, until ``Turn/goesOn(_:)`` names the thread that calls.
    func wait() {
        guard let me = self.current else { preconditionFailure("there is no step to wait in") }
        self.takeIdle().turn.signal()
        me.turn.wait()
        self.current = me
    }

    private func takeIdle() -> One {
        if let one = self.idle.popLast() { return one }
        let one = One(self)
        let isStarted = csim_start_thread(
            { context in
                guard let context else { return }
                let one = Unmanaged<One>.fromOpaque(context).takeRetainedValue()
                one.all.work(one)
            }, Unmanaged.passRetained(one).toOpaque())
        precondition(isStarted, "there is no thread for a step that waits")
        return one
    }

    private func work(_ me: One) {
        while true {
            me.turn.wait()
            self.current = me
            self.workOnce(me)
        }
    }

    private func workOnce(_ me: One) {
        while let step = self.step {
            switch step() {
            case .isDone: continue
            case .isOver:
                self.current = nil
                self.idle.append(me)
                self.caller.signal()
                return
            case .goesOn(let other):
                self.idle.append(me)
                other.turn.signal()
                return
            }
        }
    }
}
