/// Which backend something belongs to: by its place on the command line, which is its colour and its row in every plot.
struct PlotLabel: Equatable, Sendable {
    let name: String
    var detail: String? = nil
    let slot: Int

    /// Colours begin anew after these; every row says its name.
    static let colourCount = 6

    var cssClass: String { "s\(self.slot % Self.colourCount)" }
}

/// A picture, as a value: a sentence that says what it shows, and rows, one for each backend.
struct Plot: Equatable, Sendable {
    struct Bar: Equatable, Sendable {
        let label: PlotLabel
        let value: Double
        /// The lowest and the highest round, where there were several.
        let range: ClosedRange<Double>?
        /// The value in words.
        let shown: String
    }

    struct Dot: Equatable, Sendable {
        /// `p99`.
        let name: String
        let microseconds: Double
        /// False if so few were measured that this is one of the longest of them, and no more.
        var isFirm = true
    }

    struct DotRow: Equatable, Sendable {
        let label: PlotLabel
        /// From left to right.
        let dots: [Dot]
        /// Single times, shown faintly behind the dots.
        var single: [Double] = []
    }

    enum Kind: Equatable, Sendable {
        /// From zero, on a linear axis.
        case bars([Bar])
        /// Times, on a logarithmic axis.
        case dots([DotRow])
    }

    /// What the figures say, in a sentence.
    let sentence: String
    /// What was measured, and how to read it.
    let note: String
    /// What stands at the axis.
    let unit: String
    let kind: Kind

    /// What is on the picture, for those who do not see it.
    var description: String {
        switch self.kind {
        case .bars(let bars):
            "\(self.unit): " + bars.map { "\($0.label.name) \($0.shown)" }.joined(separator: ", ")
        case .dots(let rows):
            "\(self.unit): "
                + rows.map { row in
                    "\(row.label.name) "
                        + row.dots.map { "\($0.name) \(Readable.microseconds($0.microseconds))" }.joined(
                            separator: ", ")
                }.joined(separator: "; ")
        }
    }
}

/// Several plots about one thing.
struct PlotSection: Equatable, Sendable {
    let title: String
    /// How to read them, where that is the same for all.
    var note = ""
    let plots: [Plot]
}
