/// Which of the measured backends to take, in words, with reasons.
///
/// It follows from the figures and from what each store promises (``Guarantees``); nobody can know here what the locks are
/// for, so there is an answer for each situation.
struct Recommendation: Equatable, Sendable {
    /// One situation.
    struct Pick: Equatable, Sendable {
        let situation: String
        /// Names; more than one if neither the figures nor the promises decide between them, none if nothing that was
        /// measured fits.
        let choices: [String]
        let reasons: [String]
    }

    let headline: String
    let picks: [Pick]
    /// What would change it.
    let reservations: [String]

    init(_ page: BenchPage) {
        let rules = RecommendationRules(page: page)
        let (one, several, outliving) = (rules.oneHost, rules.severalHosts, rules.outlivingAServer)
        self.picks = [one, several, outliving]
        self.headline = Self.headline(page, one: one, several: several, outliving: outliving)
        self.reservations = RecommendationReservations(page: page).all
    }

    private static func headline(_ page: BenchPage, one: Pick, several: Pick, outliving: Pick) -> String {
        if page.subjects.count == 1 {
            return "Only \(page.subjects[0].name) was measured: this is what it costs and promises, beside nothing else"
        }
        func either(_ pick: Pick) -> String { pick.choices.joined(separator: " or ") }
        var parts: [String] = []
        if !one.choices.isEmpty { parts.append("on one host take \(either(one))") }
        if !several.choices.isEmpty {
            let take = parts.isEmpty ? "take " : ""
            parts.append("across hosts \(take)\(either(several))")
            if outliving.choices == several.choices { parts[parts.count - 1] += ", which outlives a server, too" }
        }
        if !outliving.choices.isEmpty, outliving.choices != several.choices {
            parts.append("\(either(outliving)) where locks must outlive a server")
        }
        guard !parts.isEmpty else { return "None of these can be recommended by what is known of it" }
        // With a comma before the last: what follows is about another situation.
        let text =
            parts.count == 1 ? parts[0] : parts.dropLast().joined(separator: ", ") + ", and " + (parts.last ?? "")
        return text.prefix(1).uppercased() + text.dropFirst()
    }
}
