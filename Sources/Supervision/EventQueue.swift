/// Events on their way to the one reader of a supervisor.
struct EventQueue {
    typealias Event = Supervisor.Event
    typealias Reader = CheckedContinuation<Event?, Never>

    // More than a reader that keeps up ever sees. When it does not, stops and continuations that are long past make
    // room; the last event is never dropped because nothing comes after it.
    static let capacity = 16

    private var events: [Event] = []
    private var isFinished = false
    private var reader: Reader?

    /// The returned reader is to be resumed with the event.
    mutating func push(_ event: Event, isLast: Bool) -> Reader? {
        precondition(!isFinished, "an event after the last one")
        isFinished = isLast
        if let reader {
            self.reader = nil
            return reader
        }
        if events.count == Self.capacity { events.removeFirst() }
        events.append(event)
        return nil
    }

    enum Next {
        case now(Event?)
        case later
    }

    mutating func next(_ reader: Reader) -> Next {
        if !events.isEmpty { return .now(events.removeFirst()) }
        if isFinished { return .now(nil) }
        precondition(self.reader == nil, "a supervisor's events have one reader")
        self.reader = reader
        return .later
    }
}
