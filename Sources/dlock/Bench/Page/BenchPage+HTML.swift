extension BenchPage {
    /// The whole page. It loads nothing: no script, no font, no picture from elsewhere; its own policy forbids it to.
    var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <meta name="referrer" content="no-referrer">
        <link rel="icon" href="data:,">
        \(HTMLText.element("title", text: self.title))
        <style>
        \(PageStyle.text)
        </style>
        </head>
        <body>
        \(self.header)
        <main>
        \(self.answer)
        \(self.plots)
        \(self.promises)
        \(self.figures)
        \(self.conditionsPart)
        </main>
        </body>
        </html>

        """
    }

    var title: String {
        self.subjects.count == 1
            ? "What locks cost on \(self.subjects[0].name)"
            : "Locks compared: \(Readable.list(self.subjects.map(\.name)))"
    }

    private var header: String {
        HTMLText.element(
            "header", [:],
            HTMLText.element("h1", text: self.title)
                + HTMLText.element(
                    "p", ["class": "sub"],
                    text: "dlock bench on \(self.conditions.host), \(self.conditions.date), "
                        + "\(self.conditions.processors) processors"
                        + (self.conditions.isOptimised ? "" : ", a debug build of dlock")
                )
        )
    }

    // MARK: The recommendation

    private var answer: String {
        let recommendation = Recommendation(self)
        let picks = recommendation.picks.map { pick in
            HTMLText.element(
                "div", ["class": "card pick"],
                HTMLText.element("p", ["class": "situation"], text: pick.situation)
                    + HTMLText.element("p", ["class": "choice"], self.choice(pick))
                    + pick.reasons.map { HTMLText.element("p", prose: $0) }.joined()
            )
        }.joined(separator: "\n")
        let reservations = recommendation.reservations.map { HTMLText.element("li", prose: $0) }.joined(separator: "\n")
        return """
            <section class="card answer" id="recommendation" aria-label="Recommendation">
            \(HTMLText.element("h2", prose: recommendation.headline))
            <div class="grid">
            \(picks)
            </div>
            <div class="change">
            <h3>What would change this</h3>
            <ul>
            \(reservations)
            </ul>
            </div>
            </section>
            """
    }

    private func choice(_ pick: Recommendation.Pick) -> String {
        guard !pick.choices.isEmpty else { return HTMLText.element("span", ["class": "soft"], text: "none of these") }
        return pick.choices.map { name in
            let slot = self.subjects.firstIndex { $0.name == name } ?? 0
            return self.named(slot)
        }.joined(separator: " or ")
    }

    /// A name with its colour.
    private func named(_ slot: Int) -> String {
        HTMLText.element("span", ["class": "swatch \(self.label(slot).cssClass)", "aria-hidden": "true"])
            + HTMLText.escaped(self.subjects[slot].name)
    }

    // MARK: Plots

    private var plots: String {
        var number = 0
        return self.sections.map { section in
            let figures = section.plots.map { plot in
                number += 1
                return HTMLText.element(
                    "figure", ["class": "card"],
                    HTMLText.element(
                        "figcaption", [:],
                        HTMLText.element("h3", prose: plot.sentence) + HTMLText.element("p", prose: plot.note)
                    ) + "\n" + PlotDrawing.svg(plot, id: "plot-\(number)")
                )
            }.joined(separator: "\n")
            return """
                <section class="plots">
                \(HTMLText.element("h2", text: section.title))
                \(section.note.isEmpty ? "" : HTMLText.element("p", ["class": "soft"], prose: section.note))
                <div class="grid">
                \(figures)
                </div>
                </section>
                """
        }.joined(separator: "\n")
    }

    // MARK: Tables

    private var promises: String {
        let rows: [(String, (BenchSubject) -> String)] = [
            ("two hold at once", { $0.guarantees.twoHold }),
            ("if a server dies", { $0.guarantees.serverDies }),
            ("if a holder dies", { $0.guarantees.holderDies }),
            ("order of waiters", { $0.guarantees.order }),
            (
                "what it keeps",
                { $0.warnings.isEmpty ? $0.guarantees.durability : $0.warnings.joined(separator: "; ") }
            ),
            ("to run", { $0.guarantees.toRun }),
        ]
        let head = self.subjects.indices.map { HTMLText.element("th", ["scope": "col"], self.named($0)) }.joined()
        let body = rows.map { name, text in
            HTMLText.element(
                "tr", [:],
                HTMLText.element("th", ["scope": "row"], text: name)
                    + self.subjects.map { HTMLText.element("td", prose: text($0)) }.joined()
            )
        }.joined(separator: "\n")
        return self.table(
            title: "What each promises",
            caption:
                "On all of them: a lease, so that a dead holder blocks nobody for long; fencing tokens that rise with "
                + "every grant; a holder that is told when its lock is lost.",
            cssClass: "promises", head: "<td></td>" + head, body: body
        )
    }

    private var figures: String {
        let each = self.report.rounds == 1 ? "One round" : "Medians of \(self.report.rounds) rounds that took turns,"
        let cycles = self.rows(
            [
                ("workload", false), ("time of", false), ("per second", true), ("p50", true), ("p90", true),
                ("p99", true),
                ("p99.9", true), ("longest", true), ("notes", false),
            ],
            self.report.rows
        )
        let idle = self.rows(
            [
                ("workload", false), ("processor time", true), ("switches per second", true), ("memory a waiter", true),
                ("all served in", true), ("out of order", true),
            ],
            { result in self.report.idleRow(of: result).map { [$0] } ?? [] }
        )
        return self.table(
            title: "All figures",
            caption:
                "\(each) of \(Readable.threeDigits(self.report.secondsPerRound)) s; the longest time is that of all rounds.",
            cssClass: "figures", head: cycles.head, body: cycles.body
        ) + "\n"
            + self.table(
                title: "All figures of waiting", caption: "Waiters in one process, on a lock that stays held.",
                cssClass: "figures", head: idle.head, body: idle.body
            )
    }

    /// Rows of figures, each of which begins with its backend.
    private func rows(
        _ columns: [(title: String, isNumber: Bool)],
        _ cells: (BenchResult) -> [[String]]
    ) -> (head: String, body: String) {
        func attributes(_ isNumber: Bool) -> KeyValuePairs<String, String> { isNumber ? ["class": "number"] : [:] }
        let head =
            HTMLText.element("th", ["scope": "col"], text: "backend")
            + columns.map { title, isNumber in
                HTMLText.element(
                    "th", isNumber ? ["scope": "col", "class": "number"] : ["scope": "col"], text: title)
            }.joined()
        let body = self.groups.flatMap { group in
            group.results.enumerated().flatMap { slot, result in
                cells(result).map { row in
                    HTMLText.element(
                        "tr", [:],
                        HTMLText.element("th", ["scope": "row"], self.named(slot))
                            + zip(row.dropFirst(), columns).map { text, column in
                                HTMLText.element("td", attributes(column.isNumber), text: text)
                            }.joined()
                    )
                }
            }
        }
        return (head, body.joined(separator: "\n"))
    }

    private var conditionsPart: String {
        let urls = self.subjects.indices.map { slot in
            HTMLText.element(
                "tr", [:],
                HTMLText.element("th", ["scope": "row"], self.named(slot))
                    + HTMLText.element("td", [:], HTMLText.element("code", text: self.subjects[slot].url))
            )
        }
        let rows = self.conditions.rows.map { name, value in
            HTMLText.element(
                "tr", [:], HTMLText.element("th", ["scope": "row"], text: name) + HTMLText.element("td", text: value))
        }
        let command = HTMLText.element(
            "tr", [:],
            HTMLText.element("th", ["scope": "row"], text: "measure again")
                + HTMLText.element("td", [:], HTMLText.element("code", text: self.conditions.command))
        )
        return self.table(
            title: "Conditions", caption: "URLs and the command are without passwords.", cssClass: "conditions",
            head: nil,
            body: (urls + rows + [command]).joined(separator: "\n")
        )
    }

    private func table(title: String, caption: String, cssClass: String, head: String?, body: String) -> String {
        guard !body.isEmpty else { return "" }
        let thead = head.map { "<thead><tr>\($0)</tr></thead>\n" } ?? ""
        return """
            <section>
            \(HTMLText.element("h2", text: title))
            <div class="card">
            \(HTMLText.element("p", ["class": "caption"], text: caption))
            <div class="scroll" role="region" tabindex="0" aria-label="\(HTMLText.escaped(title))">
            <table class="\(cssClass)">
            \(thead)<tbody>
            \(body)
            </tbody>
            </table>
            </div>
            </div>
            </section>
            """
    }
}
