import DistributedLocks
import Foundation
import Testing

@testable import dlock

/// The page as a text, and the sentences on it.
@Suite struct BenchPageTests {
    private typealias Samples = BenchPageSamples

    @Test func `the titles of plots say what the figures are`() throws {
        let page = try Samples.page([Samples.embedded, Samples.redis, Samples.redlock, Samples.zookeeper])
        let sentences = page.sections.flatMap(\.plots).map(\.sentence)
        #expect(
            sentences[0] == "One worker alone: embedded does 28,000 cycles a second, 3.5 × Redis and 31 × ZooKeeper")
        #expect(
            sentences[1]
                == "64 workers, a lock each: Redis does 55,000 cycles a second, 1.8 × embedded and 9.0 × ZooKeeper")
        #expect(
            sentences[3]
                == "One worker alone: 99 of 100 cycles end within 107 µs on embedded and within 3.33 ms on ZooKeeper, the "
                + "others between")
        #expect(
            sentences.last
                == "When a holder is killed, the next one has the lock after 2.00 ms on embedded and after 9.90 s on Redis"
        )
    }

    @Test func `a title does not name a winner where there is none`() throws {
        let page = try Samples.page([Samples.redis, Samples.sentinel, Samples.zookeeper])
        #expect(
            page.sections[0].plots[0].sentence
                == "One worker alone: Redis and Redis under Sentinel are too close to tell apart, at 8,000 and 7,800 cycles a "
                + "second; ZooKeeper does 900")
    }

    @Test func `a page without figures of a workload has no plot of it`() throws {
        var failed = Samples.redis
        failed.rates = [:]
        failed.failure = "gone"
        let page = try Samples.page([Samples.zookeeper, failed])
        #expect(page.sections.map(\.title) == ["Throughput", "Latency", "From one holder to the next"])
        guard case .bars(let bars) = page.sections[0].plots[0].kind else {
            Issue.record("rates are bars")
            return
        }
        #expect(bars.map(\.label.name) == ["ZooKeeper"])
        #expect(page.failures == ["seq on Redis: gone"])
    }

    @Test(arguments: [
        (["embedded:", "redis://a", "zookeeper://a,b"], ["embedded", "Redis", "ZooKeeper"]),
        (["redis://a", "redis://b:7000/2"], ["Redis a", "Redis b:7000/2"]),
        (["zookeeper://a", "zookeeper://a,b,c"], ["ZooKeeper, 1 server", "ZooKeeper, 3 servers"]),
        (["redis://a", "redis://a"], ["Redis a", "Redis a #2"]),
        (["embedded:", "embedded:///x/y/locks.db"], ["embedded by default", "embedded locks.db"]),
        (["redlock://a,b,c", "redlock://a,b,d"], ["Redlock a", "Redlock a #2"]),
    ])
    func `each backend has a name of its own`(urls: [String], names: [String]) throws {
        #expect(BenchSubject.named(try urls.map { try LockURL($0) }).map(\.name) == names)
    }

    @Test func `servers are on this host if all addresses are`() throws {
        let urls = [
            "redis://127.0.0.1", "redis+unix:///x.sock", "redlock://localhost,127.0.0.2,[::1]",
            "redlock://localhost,r2,r3",
        ]
        #expect(BenchSubject.named(try urls.map { try LockURL($0) }).map(\.isOnThisHost) == [true, true, true, false])
    }

    @Test func `the page loads nothing and runs nothing, whatever names it is given`() throws {
        let nasty = "<script>alert(1)</script>\" onload=\"x\u{202E}\u{1B}[2J'&"
        var conditions = Samples.conditions
        (conditions.host, conditions.command, conditions.processorModel) = (nasty, nasty, nasty)
        var redis = Samples.redis
        redis.warnings = [nasty]
        redis.failure = nasty
        let html = try Samples.page([Samples.embedded, redis], conditions: conditions).html
        #expect(!html.contains("<script") && !html.contains("\u{202E}") && !html.contains("\u{1B}"))
        #expect(!html.contains("onload=\""))
        for word in ["src=", "@import", "url(", "http://", "https://", "style=", "<iframe", "<object", "<form"] {
            #expect(!html.contains(word), "\(word)")
        }
        // The one link is to an empty icon, or browsers would ask for one.
        #expect(html.components(separatedBy: "href=").count == 2)
        #expect(html.contains("default-src 'none'"))
        #expect(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"))
    }

    @Test func `the page says under which conditions was measured, and has every figure in a table`() throws {
        let html = try Samples.page([Samples.embedded, Samples.redis]).html
        for text in [
            "2026-11-30 05:12 UTC", "db1", "8, CPU", "Linux 6", "0.1.0", "<code>redis://db1</code>",
            "<code>dlock bench</code>", "a file; a power cut", "28,000", "55,000", "9.90 s",
        ] {
            #expect(html.contains(text), "\(text)")
        }
        #expect(html.contains("3,332 to 3,468 per second"))
    }

    @Test func `many deaths are few dots`() {
        let all = (0..<10_000).map { Double($0) }
        let thinned = BenchPage.thinned(all)
        #expect(thinned.count == 60)
        #expect(thinned.first == 0 && thinned.last == 9_999)
        #expect(BenchPage.thinned([3, 1]) == [3, 1])
    }
}
