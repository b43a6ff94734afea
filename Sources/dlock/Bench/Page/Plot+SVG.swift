/// Draws plots. All lengths are in units of the drawing; the page scales it to the room that there is.
enum PlotDrawing {
    static let width = 380.0
    static let fontSize = 13.0
    private static let rowGap = 12.0
    private static let labelHeight = 18.0
    private static let barHeight = 16.0
    /// For the value behind the longest bar.
    private static let valueRoom = 84.0

    /// The picture as an element of a page.
    ///
    /// - Parameter id: Unique in the page.
    static func svg(_ plot: Plot, id: String) -> String {
        let (body, height) =
            switch plot.kind {
            case .bars(let bars): Self.bars(bars, unit: plot.unit)
            case .dots(let rows): Self.dots(rows, unit: plot.unit)
            }
        return HTMLText.element(
            "svg",
            [
                "class": "plot", "id": id, "role": "img", "aria-labelledby": "\(id)-title \(id)-desc",
                "viewBox": "0 0 \(Self.number(Self.width)) \(Self.number(height))",
            ],
            HTMLText.element("title", ["id": "\(id)-title"], text: plot.sentence)
                + HTMLText.element("desc", ["id": "\(id)-desc"], text: plot.description) + body
        )
    }

    /// A coordinate, with one digit after the point.
    static func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(Double(tenths) / 10)"
    }

    /// About how wide a text is: fonts differ, so a little more than most need.
    static func textWidth(_ text: String, size: Double) -> Double {
        text.reduce(0) { $0 + (".,:;|' il".contains($1) ? 0.36 : 0.66) } * size
    }

    // MARK: Parts

    private static func text(_ text: String, x: Double, y: Double, _ cssClass: String, anchor: String = "start")
        -> String
    {
        HTMLText.element(
            "text",
            ["x": Self.number(x), "y": Self.number(y), "class": cssClass, "text-anchor": anchor],
            text: text
        )
    }

    /// The name of a row, and beside it what is less important.
    private static func label(_ label: PlotLabel, y: Double) -> String {
        HTMLText.element(
            "text", ["x": "0", "y": Self.number(y), "class": "label"],
            HTMLText.escaped(label.name)
                + (label.detail.map { HTMLText.element("tspan", ["class": "detail", "dx": "6"], text: $0) } ?? "")
        )
    }

    private static func line(_ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ cssClass: String) -> String
    {
        HTMLText.element(
            "line",
            [
                "x1": Self.number(from.x), "y1": Self.number(from.y), "x2": Self.number(to.x), "y2": Self.number(to.y),
                "class": cssClass,
            ]
        )
    }

    /// Lines behind the rows, numbers under them, and the unit.
    private static func axis(
        _ ticks: [(place: Double, text: String)],
        height: Double,
        length: Double,
        unit: String
    ) -> String {
        var result = ""
        var last = -Double.infinity
        for tick in ticks {
            result += Self.line((tick.place, 0), (tick.place, height), "grid")
            let half = Self.textWidth(tick.text, size: 11) / 2
            let centre = min(max(tick.place, half), Self.width - half)
            // A number that would touch the one before is left out; its line stays.
            guard centre - half > last + 6 else { continue }
            last = centre + half
            result += Self.text(tick.text, x: centre, y: height + 14, "tick", anchor: "middle")
        }
        result += Self.text(unit, x: length, y: height + 30, "unit", anchor: "end")
        return result
    }

    private static func bars(_ bars: [Plot.Bar], unit: String) -> (String, Double) {
        let highest = bars.map { max($0.value, $0.range?.upperBound ?? 0) }.max() ?? 1
        let scale = LinearScale(upTo: highest, length: Self.width - Self.valueRoom)
        let pitch = Self.labelHeight + Self.barHeight + Self.rowGap
        let height = Double(bars.count) * pitch
        var body = Self.axis(
            scale.ticks.map { (scale.position($0), Readable.tick($0)) }, height: height, length: scale.length,
            unit: unit)
        for (index, bar) in bars.enumerated() {
            let top = Double(index) * pitch
            let (barTop, middle) = (top + Self.labelHeight, top + Self.labelHeight + Self.barHeight / 2)
            let length = scale.position(bar.value)
            body += Self.label(bar.label, y: top + 13)
            body += HTMLText.element(
                "rect",
                [
                    "x": "0", "y": Self.number(barTop), "width": Self.number(max(length, 1.5)),
                    "height": Self.number(Self.barHeight), "rx": "2", "class": "bar \(bar.label.cssClass)",
                ]
            )
            var end = length
            if let range = bar.range, range.upperBound > range.lowerBound {
                let (low, high) = (scale.position(range.lowerBound), scale.position(range.upperBound))
                end = max(end, high)
                body += Self.line((low, middle), (high, middle), "whisker")
                for place in [low, high] { body += Self.line((place, middle - 4), (place, middle + 4), "whisker") }
            }
            body += Self.text(bar.shown, x: end + 7, y: middle + 4.5, "value")
        }
        return (body, height + 36)
    }

    private static func dots(_ rows: [Plot.DotRow], unit: String) -> (String, Double) {
        let inset = 8.0
        let scale = LogScale(
            of: rows.flatMap { $0.dots.map(\.microseconds) + $0.single }, length: Self.width - 2 * inset)
        func place(_ microseconds: Double) -> Double { inset + scale.position(microseconds) }
        let hasLabels = rows.contains { !$0.dots.isEmpty }
        let pitch = Self.labelHeight + 14 + (hasLabels ? 34 : 0) + Self.rowGap
        let height = Double(rows.count) * pitch
        var body = Self.axis(
            scale.ticks.map { (place($0), Readable.timeTick($0)) }, height: height, length: Self.width, unit: unit)
        for (index, row) in rows.enumerated() {
            let top = Double(index) * pitch
            let middle = top + Self.labelHeight + 8
            body += Self.label(row.label, y: top + 13)
            for single in row.single {
                body += Self.circle(place(single), middle, 3, "single \(row.label.cssClass)")
            }
            guard let first = row.dots.first, let last = row.dots.last else { continue }
            body += Self.line(
                (place(first.microseconds), middle), (place(last.microseconds), middle), "span \(row.label.cssClass)")
            let shown = row.dots.map { Readable.microseconds($0.microseconds) }
            let widths = zip(row.dots, shown).map {
                max(Self.textWidth($0.name, size: 11), Self.textWidth($1, size: 12))
            }
            let places = row.dots.map { place($0.microseconds) }
            let centres = LabelLayout.centres(wanted: places, widths: widths, gap: 8, length: Self.width)
            for (dot, (place, centre)) in zip(row.dots, zip(places, centres)) {
                body += Self.line((place, middle + 4), (centre, middle + 14), "leader")
                let radius = dot == first ? 5.5 : 4
                body += Self.circle(
                    place, middle, radius, "\(dot.isFirm ? "dot" : "dot open") \(row.label.cssClass)")
                body += Self.text(dot.name, x: centre, y: middle + 24, "tick", anchor: "middle")
                body += Self.text(
                    Readable.microseconds(dot.microseconds), x: centre, y: middle + 37, "small", anchor: "middle")
            }
        }
        return (body, height + 36)
    }

    private static func circle(_ x: Double, _ y: Double, _ radius: Double, _ cssClass: String) -> String {
        HTMLText.element(
            "circle",
            ["cx": Self.number(x), "cy": Self.number(y), "r": Self.number(radius), "class": cssClass]
        )
    }
}
