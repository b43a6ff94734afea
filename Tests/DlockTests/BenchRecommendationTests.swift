import Testing

@testable import dlock

/// What is recommended, and why.
@Suite struct BenchRecommendationTests {
    private typealias Samples = BenchPageSamples

    private func recommendation(_ samples: [BenchPageSamples.Sample]) throws -> Recommendation {
        Recommendation(try Samples.page(samples))
    }

    @Test func `all of them: embedded on one host, the fastest on several, the strongest that outlives a server`()
        throws
    {
        let answer = try self.recommendation([Samples.embedded, Samples.redis, Samples.redlock, Samples.zookeeper])
        #expect(answer.picks.map(\.choices) == [["embedded"], ["Redis"], ["ZooKeeper"]])
        #expect(
            answer.headline
                == "On one host take embedded, across hosts Redis, and ZooKeeper where locks must outlive a server")
        #expect(
            answer.picks[1].reasons[0]
                == "It is the fastest: 2.0 to 3.1 × as fast as Redlock and 5.2 to 9.0 × as fast as ZooKeeper.")
        #expect(answer.picks[1].reasons[1].contains("If a server dies: no locks until it is back"))
        // Whoever could do with less is told what they would gain.
        #expect(
            answer.picks[2].reasons.contains { $0.hasPrefix("Redlock is 2.3 to 4.4 × as fast, for a weaker promise") })
    }

    @Test func `on one host embedded is taken for what it does when a holder dies, and a faster one is named`() throws {
        let pick = try self.recommendation([Samples.embedded, Samples.redis]).picks[0]
        #expect(pick.choices == ["embedded"])
        #expect(
            pick.reasons.contains(
                "A killed holder is followed within 2.00 ms; where only a lease tells, it takes 9.90 s on Redis."))
        #expect(pick.reasons.contains { $0.hasPrefix("Redis is faster in wide-64 and hot-16: a reason only if") })
        var noCrash = Samples.embedded
        noCrash.takeoverMicroseconds = nil
        let without = try self.recommendation([noCrash, Samples.zookeeper]).picks[0]
        #expect(without.reasons.contains("A holder that dies is seen at once, and not when its lease is over."))
        #expect(without.reasons.contains("None of the others is clearly faster."))
    }

    @Test func `without embedded, one host has no recommendation but to measure it`() throws {
        let pick = try self.recommendation([Samples.redis, Samples.zookeeper]).picks[0]
        #expect(pick.choices == [])
        #expect(pick.reasons[0].contains("add --backend embedded:"))
    }

    @Test func `figures that are too close leave the choice to what is promised`() throws {
        let answer = try self.recommendation([Samples.redis, Samples.sentinel])
        #expect(answer.picks[1].choices == ["Redis under Sentinel"])
        #expect(
            answer.picks[1].reasons[0]
                == "The figures of Redis and Redis under Sentinel are too close to decide by speed, so what they promise "
                + "decides: Redis under Sentinel promises the most.")
        #expect(answer.headline == "Across hosts take Redis under Sentinel, which outlives a server, too")
        #expect(
            answer.picks[2].reasons.contains { $0.contains("only with a resource that refuses old fencing tokens") })
    }

    @Test func `figures that are too close, of stores that promise the same, decide nothing`() throws {
        var other = Samples.redis
        other.url = "redis://db2"
        let answer = try self.recommendation([Samples.redis, other])
        #expect(answer.picks[1].choices == ["Redis db1", "Redis db2"])
        #expect(
            answer.picks[1].reasons == [
                "The figures of Redis db1 and Redis db2 are too close to decide by speed, and they promise the same: take the "
                    + "one that you run anyway."
            ])
    }

    @Test func `rounds that overlap are too close, however far apart their medians are`() throws {
        var noisy = Samples.zookeeper
        noisy.rates = [.seq: [500, 2_000, 9_000]]
        var calm = Samples.redis
        calm.rates = [.seq: [8_000, 8_100, 8_200]]
        let answer = try self.recommendation([calm, noisy])
        #expect(answer.picks[1].choices == ["ZooKeeper"])
        #expect(answer.picks[1].reasons[0].hasPrefix("The rounds of Redis and ZooKeeper overlap"))
        #expect(
            answer.reservations.contains {
                $0.hasPrefix("Rounds of one measurement differ by a factor of up to 18 (seq on ZooKeeper)")
            })
    }

    @Test func `one that is ahead here and behind there is not called the fastest`() throws {
        var other = Samples.redis
        other.url = "redis://db2"
        other.rates = [.seq: Samples.rounds(20_000), .wide: Samples.rounds(20_000), .hot: Samples.rounds(3_400)]
        let reason = try self.recommendation([Samples.redis, other]).picks[1].reasons[0]
        #expect(reason.hasPrefix("Redis db1 is faster in wide-64, Redis db2 in seq, and they promise the same"))
    }

    @Test func `whoever is clearly slower than another is out, also where the others are too close`() throws {
        let answer = try self.recommendation([Samples.redis, Samples.sentinel, Samples.zookeeper])
        #expect(answer.picks[1].choices == ["Redis under Sentinel"])
        #expect(answer.picks[2].choices == ["ZooKeeper"])
    }

    @Test func `whoever nobody is ahead of is taken, also where it is not ahead of all`() throws {
        func redis(_ host: String, _ seq: Double, _ wide: [Double]) -> BenchPageSamples.Sample {
            BenchPageSamples.Sample(url: "redis://\(host)", rates: [.seq: Samples.rounds(seq), .wide: wide])
        }
        // b is behind a, c is behind b, and c is ahead of a in one workload, where b's rounds overlap with all.
        let pick = try self.recommendation([
            redis("a", 9_000, [100, 101, 102]), redis("b", 4_000, [90, 130, 200]), redis("c", 1_000, [150, 151, 152]),
        ]).picks[1]
        #expect(pick.choices == ["Redis a"])
        #expect(pick.reasons[0] == "Each of the others is clearly slower than another of these.")
    }

    @Test func `three that are ahead of each other in a circle are all candidates`() throws {
        func redis(_ host: String, _ seq: [Double], _ wide: [Double], _ hot: [Double]) -> BenchPageSamples.Sample {
            BenchPageSamples.Sample(url: "redis://\(host)", rates: [.seq: seq, .wide: wide, .hot: hot])
        }
        let (low, high, any) = ([10.0, 10, 10], [100.0, 100, 100], [1.0, 50, 1_000])
        let pick = try self.recommendation([
            redis("a", high, any, low), redis("b", low, high, any), redis("c", any, low, high),
        ]).picks[1]
        // Each is behind one of the others: in seq, in wide, in hot.
        #expect(pick.choices == ["Redis a", "Redis b", "Redis c"])
        #expect(pick.reasons[0].hasSuffix("take the one that you run anyway."))
    }

    @Test func `where nothing tells of speed, what is promised decides`() throws {
        var redis = Samples.redis
        var zookeeper = Samples.zookeeper
        (redis.rates, zookeeper.rates) = ([:], [:])
        zookeeper.takeoverMicroseconds = 10_000_000
        let pick = try self.recommendation([redis, zookeeper]).picks[1]
        #expect(pick.choices == ["ZooKeeper"])
        #expect(pick.reasons[0].hasPrefix("No workload was measured that tells which of Redis and ZooKeeper is faster"))
    }

    @Test func `one server alone outlives nothing, and what would is named`() throws {
        let pick = try self.recommendation([Samples.redis, Samples.oneZooKeeper]).picks[2]
        #expect(pick.choices == [])
        #expect(pick.reasons.contains("ZooKeeper does with three servers: measure it with three in its URL."))
        let other = try self.recommendation([Samples.redis, Samples.embedded]).picks[2]
        #expect(other.reasons[1].contains("zookeeper://z1,z2,z3"))
    }

    @Test func `embedded alone is for one host, and is not compared with anything`() throws {
        let answer = try self.recommendation([Samples.embedded])
        #expect(answer.headline.hasPrefix("Only embedded was measured"))
        #expect(answer.picks.map(\.choices) == [["embedded"], [], []])
        #expect(answer.picks[1].reasons[0].contains("Embedded locks guard one host"))
    }

    @Test func `the only one that hosts can share is taken whatever its figures are`() throws {
        let answer = try self.recommendation([Samples.embedded, Samples.zookeeper])
        #expect(answer.picks[1].reasons[0] == "It is the only one of these that several hosts can share.")
        #expect(
            answer.headline == "On one host take embedded, and across hosts ZooKeeper, which outlives a server, too")
    }

    @Test func `what makes figures doubtful is said`() throws {
        var conditions = BenchPageSamples.conditions
        conditions.isOptimised = false
        conditions.stolenShare = 0.21
        var redis = Samples.redis
        redis.url = "redis://127.0.0.1:6379"
        redis.rates = [.seq: [100]]
        redis.warnings = ["it forgets"]
        redis.failure = "no answer"
        var embedded = Samples.embedded
        embedded.rates = [.seq: [1_000]]
        let page = try Samples.page([embedded, redis], conditions: conditions, secondsPerRound: 0.05)
        let all = Recommendation(page).reservations
        for start in [
            "This dlock was built without optimisation", "One round of 0.05 s is little to decide by",
            "Others on the host of this virtual machine took 21.0 %", "Redis was reached on this host",
            "Even Redis does 100 cycles a second", "Not measured: seq on Redis: no answer.",
            "Redis, by its own settings: it forgets.", "No lock can stop a holder that was paused",
        ] {
            #expect(all.contains { $0.hasPrefix(start) }, "\(start)")
        }
        // And nothing of it where there is no reason.
        let calm = try self.recommendation([Samples.embedded, Samples.redis]).reservations
        #expect(calm.count == 2, "\(calm)")
    }

    @Test(arguments: [
        (100.0, 130.0, false), (100, 124, true), (124, 100, true), (130, 100, false), (0, 0, true), (0, 10, false),
    ])
    func `a quarter more is more`(first: Double, second: Double, isTooClose: Bool) {
        func spread(_ value: Double) -> SpeedComparison.Spread {
            SpeedComparison.Spread(median: value, min: value, max: value)
        }
        #expect(SpeedComparison.isTooClose(spread(first), spread(second)) == isTooClose)
    }
}
