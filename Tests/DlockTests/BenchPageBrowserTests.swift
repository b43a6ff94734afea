import Foundation
import TestKit
import Testing

@testable import dlock

/// The page as its readers see it.
@Suite(.enabled(if: Chromium.isRequired && RedisServer.isRequired), .timeLimit(.minutes(4)))
struct BenchPageBrowserTests {
    /// What a script found in the page after it was laid out.
    private struct Layout: Decodable {
        struct Plot: Decodable {
            var id: String
            var title: String
            var width: Double
            var height: Double
            /// Bars and dots.
            var marks: Int
            /// Texts that reach out of the card, or stand on each other.
            var outside: [String]
            var overlapping: [String]
        }
        var plots: [Plot]
        var resources: Int
        /// How much wider the page is than its room.
        var overflow: Double
        var headline: String
    }

    private static let script = """
        <script>
        const texts = svg => [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
        const plots = [...document.querySelectorAll('svg')].map(svg => {
          const box = svg.getBoundingClientRect(), card = svg.closest('figure').getBoundingClientRect();
          const all = texts(svg), overlapping = [];
          for (let i = 0; i < all.length; i++) for (let j = 0; j < i; j++) {
            const [a, b] = [all[i][1], all[j][1]];
            const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (x > 0.5 && y > 4) overlapping.push(all[i][0] + ' | ' + all[j][0]);
          }
          return {
            id: svg.id, title: svg.querySelector('title').textContent, width: box.width, height: box.height,
            marks: [...svg.querySelectorAll('.bar, .dot')].filter(m => m.getBoundingClientRect().width > 0).length,
            outside: all.filter(([, r]) => r.left < card.left || r.right > card.right || r.width == 0).map(([t]) => t),
            overlapping
          };
        });
        const found = document.createElement('pre');
        found.id = 'found';
        found.textContent = JSON.stringify({
          plots, resources: performance.getEntriesByType('resource').length,
          overflow: document.body.scrollWidth - document.body.clientWidth,
          headline: document.querySelector('#recommendation h2').textContent
        });
        document.body.append(found);
        </script>
        """

    /// Loads a copy of the page that tells of itself. The page's own policy would not let it.
    private func layout(_ page: String, in folder: URL, chromium: Chromium, width: Int) async throws -> Layout {
        let policy = try #require(page.range(of: "<meta http-equiv=\"Content-Security-Policy\""))
        let end = try #require(page.range(of: ">", range: policy.upperBound..<page.endIndex))
        var copy = page
        copy.removeSubrange(policy.lowerBound..<end.upperBound)
        // A window has a least width, which is more than a phone's.
        copy = copy.replacingOccurrences(of: "</style>", with: "html { width: \(width)px }</style>")
        copy = copy.replacingOccurrences(of: "</body>", with: Self.script + "</body>")
        let file = folder.appending(path: "copy-\(width).html")
        try copy.write(to: file, atomically: true, encoding: .utf8)
        let visit = try await chromium.visit(file, width: max(500, width))
        let parts = visit.dom.components(separatedBy: "<pre id=\"found\">")
        let json = try #require(parts.last?.components(separatedBy: "</pre>").first)
        let text = json.replacingOccurrences(of: "&lt;", with: "<").replacingOccurrences(of: "&gt;", with: ">")
            .replacingOccurrences(of: "&nbsp;", with: " ").replacingOccurrences(of: "&amp;", with: "&")
        return try JSONDecoder().decode(Layout.self, from: Data(text.utf8))
    }

    @Test func `each plot of a real measurement is there, nothing is cut off, and the network is left alone`()
        async throws
    {
        try await RedisServer.withServer { server async throws in
            try await Shell.with { shell async throws in
                let output = try await shell.run(
                    """
                    exec "$D" bench --backend embedded: --backend \(server.url) --rounds 2 --seconds 0.05 --lease 300ms \
                    --workload seq --workload wide-4 --workload hot-4 --workload crash --workload idle-20 --html page.html
                    """
                )
                try #require(output.status == 0, "\(output.error)")
                let chromium = Chromium(folder: shell.folder)
                let page = try #require(shell.contents("page.html"))
                for width in [1_280, 390] {
                    let layout = try await self.layout(page, in: shell.folder, chromium: chromium, width: width)
                    // Rates and times of three workloads; hand-over, crash, serving; three costs of waiting.
                    #expect(layout.plots.count == 12)
                    for plot in layout.plots {
                        #expect(plot.width > 250 && plot.height > 80, "\(plot.title): \(plot.width) × \(plot.height)")
                        #expect(plot.marks >= 2, "\(plot.title)")
                        #expect(plot.outside == [], "\(plot.title)")
                        #expect(plot.overlapping == [], "\(plot.title)")
                    }
                    #expect(layout.overflow <= 0)
                    #expect(layout.resources == 0)
                    #expect(layout.headline == "On one host take embedded, and across hosts Redis")
                }
                let visit = try await chromium.visit(shell.folder.appending(path: "page.html"))
                #expect(visit.requests == [])
                #expect(visit.dom.contains("the server keeps nothing on its disk"))

                let pdf = shell.folder.appending(path: "page.pdf")
                try await chromium.render(
                    shell.folder.appending(path: "page.html"), arguments: ["--print-to-pdf=\(pdf.path)"])
                #expect(try Data(contentsOf: pdf).count > 20_000)
            }
        }
    }

    @Test func `a page that asks for something is seen by the same look`() async throws {
        try await Shell.with { shell async throws in
            let file = shell.folder.appending(path: "page.html")
            try "<!doctype html><title>x</title><img src=\"http://127.0.0.1:9/x.png\">".write(
                to: file, atomically: true, encoding: .utf8)
            let visit = try await Chromium(folder: shell.folder).visit(file)
            #expect(visit.requests.contains("http://127.0.0.1:9/x.png"))
        }
    }
}
