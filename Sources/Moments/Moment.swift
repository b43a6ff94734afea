/// An instant of `ContinuousClock`, in a form whose size the compiler knows.
///
/// The layout of `ContinuousClock.Instant` is the standard library's own affair. Whatever stores one is therefore copied
/// and destroyed through tables that are built and looked up at run time, and so is all that stores that in turn. What
/// changes with every grant stores this instead, and speaks `ContinuousClock.Instant` to the outside. Nothing is rounded.
package struct Moment: Hashable, Comparable, Sendable {
    private let attoseconds: Int128

    package init(_ instant: ContinuousClock.Instant) {
        self.attoseconds = ContinuousClock().systemEpoch.duration(to: instant).attoseconds
    }

    package init?(_ instant: ContinuousClock.Instant?) {
        guard let instant else { return nil }
        self.init(instant)
    }

    private init(attoseconds: Int128) {
        self.attoseconds = attoseconds
    }

    package var instant: ContinuousClock.Instant {
        ContinuousClock().systemEpoch.advanced(by: Duration(attoseconds: self.attoseconds))
    }

    package static func < (left: Moment, right: Moment) -> Bool { left.attoseconds < right.attoseconds }

    package static func + (moment: Moment, duration: Duration) -> Moment {
        Moment(attoseconds: moment.attoseconds + duration.attoseconds)
    }

    package static func - (moment: Moment, duration: Duration) -> Moment {
        Moment(attoseconds: moment.attoseconds - duration.attoseconds)
    }

    package static func - (left: Moment, right: Moment) -> Duration {
        Duration(attoseconds: left.attoseconds - right.attoseconds)
    }
}
