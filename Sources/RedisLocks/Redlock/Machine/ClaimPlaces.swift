import DistributedLocks

/// Where claims stand in a row, by their attempts. A place that was left is taken by the next one, so that the row is no longer than
/// the most that there were at once. Pure.
struct ClaimPlaces {
    private var places: [AttemptID: Int] = [:]
    private var free: [Int] = []

    var count: Int { self.places.count }

    subscript(attempt: AttemptID) -> Int? { self.places[attempt] }

    /// - Returns: the place of a new claim, and whether it is a new one at the end of the row.
    mutating func take(_ attempt: AttemptID) -> (place: Int, isNew: Bool) {
        let isNew = self.free.isEmpty
        let place = isNew ? self.places.count : self.free.removeLast()
        precondition(self.places.updateValue(place, forKey: attempt) == nil, "an attempt has one claim at a time")
        return (place, isNew)
    }

    mutating func leave(_ attempt: AttemptID) {
        guard let place = self.places.removeValue(forKey: attempt) else {
            preconditionFailure("a claim was removed twice")
        }
        self.free.append(place)
    }
}
