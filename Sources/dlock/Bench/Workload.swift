import ArgumentParser

/// What is measured: a kind of load and how many workers make it.
struct Workload: Hashable, Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case seq
        case wide
        case hot
        case crash
        case idle
    }

    static let maximumWorkers = 10_000

    let kind: Kind
    let workers: Int

    init(_ kind: Kind, workers: Int) {
        self.kind = kind
        self.workers = workers
    }

    /// As it stands on the command line and in the results.
    var name: String {
        switch self.kind {
        case .seq, .crash: self.kind.rawValue
        case .wide, .hot, .idle: "\(self.kind.rawValue)-\(self.workers)"
        }
    }

    /// What is measured when no workload is named.
    static func defaults(workers: Int?) -> [Workload] {
        [
            Workload(.seq, workers: 1),
            Workload(.wide, workers: workers ?? Kind.wide.defaultWorkers),
            Workload(.hot, workers: workers ?? Kind.hot.defaultWorkers),
        ]
    }

    /// What is measured for a page when no workload is named: all that it can show.
    static func ofPage(workers: Int?) -> [Workload] {
        Self.defaults(workers: workers) + [
            Workload(.crash, workers: 1), Workload(.idle, workers: workers ?? Kind.idle.defaultWorkers),
        ]
    }

    /// Reads a workload's name; `workers` counts where the name has no number.
    ///
    /// - Throws: `ValidationError` with what would be right.
    static func parse(_ text: String, workers: Int?) throws -> Workload {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let kind = Kind(rawValue: String(first)) else {
            throw ValidationError("there is no workload '\(text)'; there are seq, wide-64, hot-16, crash and idle")
        }
        guard parts.count == 2 else {
            return Workload(kind, workers: kind.isOfManyWorkers ? workers ?? kind.defaultWorkers : 1)
        }
        guard kind.isOfManyWorkers else {
            throw ValidationError("\(kind.rawValue) has no number of workers: write --workload \(kind.rawValue)")
        }
        // Int() takes a sign, too.
        guard parts[1].utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(parts[1]),
            (1...Self.maximumWorkers).contains(number)
        else {
            throw ValidationError(
                "the number of workers in '\(text)' is from 1 to \(Self.maximumWorkers), as in "
                    + "\(kind.rawValue)-\(kind.defaultWorkers)"
            )
        }
        return Workload(kind, workers: number)
    }
}

extension Workload.Kind {
    var isOfManyWorkers: Bool {
        switch self {
        case .seq, .crash: false
        case .wide, .hot, .idle: true
        }
    }

    var defaultWorkers: Int {
        switch self {
        case .seq, .crash: 1
        case .wide: 64
        case .hot: 16
        case .idle: 1_000
        }
    }
}
