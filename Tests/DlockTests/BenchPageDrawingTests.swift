import Testing

@testable import dlock

/// Scales, labels, and text that goes into a page.
@Suite struct BenchPageDrawingTests {
    @Test(arguments: [
        (4.0, [0.0, 1, 2, 3, 4]), (28_166, [0, 10_000, 20_000]), (0.18, [0, 0.05, 0.1, 0.15]), (1, [0, 0.5, 1]),
        (0, [0, 0.5, 1]), (.infinity, [0, 0.5, 1]),
    ])
    func `a linear axis begins at zero and has few round ticks`(highest: Double, ticks: [Double]) {
        let scale = LinearScale(upTo: highest, length: 300)
        #expect(scale.ticks.count == ticks.count)
        for (tick, wanted) in zip(scale.ticks, ticks) { #expect(abs(tick - wanted) < 1e-9) }
    }

    @Test func `bars are as long as their values, and never leave the axis`() {
        let scale = LinearScale(upTo: 200, length: 300)
        #expect(scale.position(0) == 0)
        #expect(scale.position(50) == 75)
        #expect(scale.position(200) == 300)
        #expect(scale.position(1_000) == 300)
        #expect(scale.position(-1) == 0)
        #expect(scale.position(.nan) == 0)
    }

    @Test func `on a logarithmic axis each power of ten is as long as the next`() {
        let scale = LogScale(of: [15, 80_000], length: 400)
        #expect(scale.lower == 10)
        #expect(scale.upper == 100_000)
        #expect(scale.ticks == [10, 100, 1_000, 10_000, 100_000])
        #expect(abs(scale.position(100) - 100) < 1e-9)
        #expect(abs(scale.position(1_000) - 200) < 1e-9)
    }

    @Test(arguments: [[3.0, 3], [0.7, 9], [1, 1_000], [0], [], [5e-9, 1e13], [.nan, 4], [99.9, 100.1]])
    func `every value has a place within a logarithmic axis, with two ticks at least`(values: [Double]) {
        let scale = LogScale(of: values, length: 400)
        #expect(scale.lower < scale.upper)
        #expect(scale.ticks.count >= 2)
        #expect(scale.ticks.count <= 18)
        #expect(zip(scale.ticks, scale.ticks.dropFirst()).allSatisfy { $0 < $1 })
        for value in values { #expect((0...400).contains(scale.position(value))) }
        for value in values where value >= LogScale.smallest { #expect(scale.position(value) > 0) }
    }

    @Test func `labels that would touch are moved apart, and stay as near as they can`() {
        let centres = LabelLayout.centres(wanted: [100, 105, 300], widths: [40, 40, 40], gap: 10, length: 400)
        #expect(centres == [77.5, 127.5, 300])
        let atTheEnd = LabelLayout.centres(wanted: [395, 399], widths: [40, 60], gap: 10, length: 400)
        #expect(atTheEnd == [310, 370])
        #expect(LabelLayout.centres(wanted: [2], widths: [40], gap: 10, length: 400) == [20])
        #expect(LabelLayout.centres(wanted: [], widths: [], gap: 10, length: 400) == [])
    }

    @Test func `labels keep their order and their gaps, wherever their places are`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let wanted = (0..<4).map { _ in Double.random(in: 0...380, using: &generator) }.sorted()
            let widths = (0..<4).map { _ in Double.random(in: 20...60, using: &generator) }
            let centres = LabelLayout.centres(wanted: wanted, widths: widths, gap: 8, length: 380)
            for index in 1..<4 {
                let space = (centres[index] - widths[index] / 2) - (centres[index - 1] + widths[index - 1] / 2)
                #expect(space > 8 - 1e-6, "\(wanted) \(widths)")
            }
            #expect(centres[0] - widths[0] / 2 > -1e-6)
            #expect(centres[3] + widths[3] / 2 < 380 + 1e-6)
        }
    }

    @Test(arguments: [
        ("a < b & c > \"d\" 'e'", "a &lt; b &amp; c &gt; &quot;d&quot; &#39;e&#39;"),
        ("</script><script>alert(1)</script>", "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a\u{1B}[31mb\nc\u{0}\u{9B}d", "a\\u{1B}[31mb\\u{A}c\\u{0}\\u{9B}d"),
        ("x\u{202E}gpj\u{2066}\u{200F}\u{2028}", "x\\u{202E}gpj\\u{2066}\\u{200F}\\u{2028}"),
        ("zürich µs × 東京", "zürich µs × 東京"),
    ])
    func `text from outside is shown and does nothing`(text: String, escaped: String) {
        #expect(HTMLText.escaped(text) == escaped)
        #expect(HTMLText.element("p", text: text) == "<p>\(escaped)</p>")
        #expect(HTMLText.element("p", ["title": text]) == "<p title=\"\(escaped)\"></p>")
    }

    @Test func `a number and its unit stay on one line`() {
        #expect(
            HTMLText.withoutBreaks("within 16.4 ms on Redis, 2 × it.") == "within 16.4\u{A0}ms on Redis, 2\u{A0}× it.")
        #expect(HTMLText.withoutBreaks("at most 3 s, s of 5 %") == "at most 3\u{A0}s, s of 5\u{A0}%")
        #expect(HTMLText.withoutBreaks(" a  b ") == " a  b ")
    }

    @Test(arguments: [
        (0.0, "0"), (0.05, "0.05"), (0.1 + 0.2, "0.3"), (1, "1"), (20_000, "20,000"), (1.5, "1.5"),
    ])
    func `ticks have no digits that rounding left`(value: Double, text: String) {
        #expect(Readable.tick(value) == text)
    }

    @Test(arguments: [(0.5, "0.5 µs"), (50.0, "50 µs"), (2_000, "2 ms"), (1_000_000, "1 s"), (50_000_000, "50 s")])
    func `times at an axis are in the largest unit that gives a round number`(microseconds: Double, text: String) {
        #expect(Readable.timeTick(microseconds) == text)
    }

    @Test func `a drawing has no coordinate that is no number, whatever the figures are`() {
        let label = PlotLabel(name: "<a>", slot: 7)
        let plots: [Plot.Kind] = [
            .bars([Plot.Bar(label: label, value: 0, range: nil, shown: "0")]),
            .bars([Plot.Bar(label: label, value: .nan, range: 0...0, shown: "?")]),
            .bars([]),
            .dots([Plot.DotRow(label: label, dots: [], single: [])]),
            .dots([
                Plot.DotRow(label: label, dots: [Plot.Dot(name: "p50", microseconds: 0)], single: [0, .infinity])
            ]),
        ]
        for kind in plots {
            let svg = PlotDrawing.svg(Plot(sentence: "s", note: "n", unit: "u", kind: kind), id: "x")
            #expect(!svg.contains("nan") && !svg.contains("inf"), "\(svg)")
            #expect(svg.contains("role=\"img\"") && svg.contains("<title id=\"x-title\">s</title>"))
            #expect(!svg.contains("<a>"))
        }
    }
}
