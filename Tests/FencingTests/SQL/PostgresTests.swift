import DistributedLocks
import Fencing
import Foundation
import TestKit
import Testing

/// Fencing in PostgreSQL, through psql: the statement as it is, and the function for every other language.
@Suite(.enabled(if: PostgresServer.isRequired), .timeLimit(.minutes(3))) struct PostgresTests {
    private static let tables = """
        \(FenceSQL.createTable);
        CREATE TABLE writes (id BIGSERIAL PRIMARY KEY, token BIGINT NOT NULL);

        """
    private static let prepare = """
        PREPARE raise AS \(FenceSQL.raise);
        PREPARE adopt AS \(FenceSQL.adopt);
        PREPARE read AS \(FenceSQL.read);

        """

    @Test func `the statement decides as the rule does, for random tokens and domains`() async throws {
        try await PostgresServer.withServer { server async throws in
            var script = Self.tables + Self.prepare
            var expected: [String] = []
            for seed in 1...10 as ClosedRange<UInt64> {
                var rule = FenceRule()
                for step in Step.random(40, seed: seed) {
                    let arguments = "'r\(seed)', \(step.stamp.token), '\(step.stamp.domain)'"
                    script += "EXECUTE \(step.isAdoption ? "adopt" : "raise")(\(arguments));\n"
                    script += "\\echo then\nEXECUTE read('r\(seed)');\n"
                    if step.apply(to: &rule).isAccepted { expected.append(step.stamp.token.description) }
                    expected.append("then")
                    if let highest = rule.highest { expected.append("\(highest.token)|\(highest.domain)") }
                }
            }
            let result = try await server.psql(script)
            #expect(result.lines == expected)
        }
    }

    @Test func `the function accepts and refuses as the rule does, and a refusal ends the transaction`() async throws {
        try await PostgresServer.withServer { server async throws in
            let loaded = try await server.psql("\\set ON_ERROR_STOP on\n\(FenceSQL.postgreSQL)\n\(FenceSQL.postgreSQL)")
            #expect(loaded.status == 0, "\(loaded.output)")
            var script = "\\set VERBOSITY sqlstate\n"
            var expected: [String] = []
            for seed in 1...10 as ClosedRange<UInt64> {
                var rule = FenceRule()
                for step in Step.random(40, seed: seed) {
                    let arguments = "'r\(seed)', \(step.stamp.token), '\(step.stamp.domain)'"
                    script += "SELECT 'ok' || \(step.isAdoption ? "adopt_fence" : "fence")(\(arguments))::text;\n"
                    switch step.apply(to: &rule) {
                    case .first, .same, .raised, .adopted: expected.append("ok")
                    case .stale: expected.append("LF001")
                    case .otherDomain: expected.append("LF002")
                    }
                }
            }
            let decided = try await server.psql(script).lines.map { $0.hasPrefix("ok") ? "ok" : String($0.suffix(5)) }
            #expect(decided == expected)

            let stale = try await server.psql(
                """
                CREATE TABLE writes (token BIGINT NOT NULL);
                BEGIN; SELECT fence('stock', 9007199254740993); INSERT INTO writes VALUES (9007199254740993); COMMIT;
                BEGIN; SELECT fence('stock', 9007199254740992); INSERT INTO writes VALUES (9007199254740992); COMMIT;
                SELECT token FROM writes;
                """)
            #expect(stale.output.contains("LF001: stock refused the fencing token 9007199254740992"))
            #expect(stale.output.contains("It has seen 9007199254740993: a later holder has been here."))
            #expect(stale.lines.last == "9007199254740993")
        }
    }

    @Test func `the function looks at its own table, whatever schemas and temporary tables its caller has`()
        async throws
    {
        try await PostgresServer.withServer { server async throws in
            let loaded = try await server.psql("\\set ON_ERROR_STOP on\n\(FenceSQL.postgreSQL)")
            #expect(loaded.status == 0, "\(loaded.output)")
            _ = try await server.psql("SELECT fence('r', 12);")
            let table = "(resource TEXT NOT NULL PRIMARY KEY, token BIGINT NOT NULL, domain TEXT NOT NULL)"
            let callers = [
                "CREATE SCHEMA tenant; CREATE TABLE tenant.fences \(table); SET search_path = tenant, public;",
                "CREATE SCHEMA AUTHORIZATION current_user; CREATE TABLE fences \(table);",
                "CREATE TEMPORARY TABLE fences \(table);",
                "SET search_path = '';",
            ]
            for caller in callers {
                for call in ["fence('r', 1)", "adopt_fence('r', 1, 'clock')"] {
                    let stale = try await server.psql(
                        "\\set VERBOSITY sqlstate\nBEGIN; \(caller) SELECT public.\(call); ROLLBACK;")
                    #expect(stale.output.contains("LF001"), "\(caller) \(call): \(stale.output)")
                }
            }
            // In a schema of another name it is that schema's.
            let other = try await server.psql(
                """
                \\set ON_ERROR_STOP on
                CREATE SCHEMA "Odd schema"; SET search_path = "Odd schema";
                \(FenceSQL.postgreSQL)
                SET search_path = public;
                SELECT "Odd schema".fence('r', 3); SELECT "Odd schema".adopt_fence('r', 4, 'zxid:1');
                SELECT token || '|' || domain FROM "Odd schema".fences; SELECT token FROM public.fences;
                """)
            #expect(other.lines.suffix(2) == ["4|zxid:1", "12"], "\(other.output)")
        }
    }

    @Test func `many connections with random tokens never write a lower one after a higher`() async throws {
        try await PostgresServer.withServer { server async throws in
            _ = try await server.psql(
                FenceSQL.postgreSQL + "CREATE TABLE writes (id BIGSERIAL, token BIGINT NOT NULL);")
            let scripts = try (0..<4 as Range<UInt64>).map { worker in
                var generator = SeededGenerator(seed: worker)
                var script = "\\set VERBOSITY sqlstate\n"
                for round in 0..<100 as Range<Int64> {
                    let token = 1 + round + Int64.random(in: 0..<40, using: &generator)
                    script +=
                        "BEGIN; SELECT fence('stock', \(token)); INSERT INTO writes (token) VALUES (\(token)); COMMIT;\n"
                }
                return try server.starting(script)
            }
            var refused = 0
            for script in scripts { refused += await script.end().lines.count { $0.contains("LF001") } }
            // Rows are numbered inside the transactions, which run one after another.
            let written = try await server.psql("SELECT token FROM writes ORDER BY id").lines.compactMap { Int64($0) }
            #expect(written == written.sorted())
            #expect(written.count + refused == 400)
            #expect(refused > 0)
        }
    }

    @Test func `a later holder waits for one that was accepted, and a stale one that waited is refused`() async throws {
        try await PostgresServer.withServer { server async throws in
            _ = try await server.psql(
                FenceSQL.postgreSQL + "CREATE TABLE writes (id BIGSERIAL, token BIGINT NOT NULL);")
            _ = try await server.psql("BEGIN; SELECT fence('stock', 5); INSERT INTO writes (token) VALUES (5); COMMIT;")
            // 6 is accepted and takes its time, as one does that is stopped.
            let gate = try await Self.closedGate(server)
            let holding = try server.starting(
                """
                BEGIN; SELECT fence('stock', 6); SELECT pg_advisory_lock_shared(1);
                INSERT INTO writes (token) VALUES (6); COMMIT;
                """)
            try await eventually("6 is inside") { try await Self.blocked(server) == 1 }
            let seven = try server.starting(
                "BEGIN; SELECT fence('stock', 7); INSERT INTO writes (token) VALUES (7); COMMIT;")
            try await eventually("7 waits") { try await Self.blocked(server) == 2 }
            let stale = try server.starting(
                "BEGIN; SELECT fence('stock', 5); INSERT INTO writes (token) VALUES (5); COMMIT;")
            try await eventually("5 waits") { try await Self.blocked(server) == 3 }
            try await Self.open(gate, server)
            #expect(await !holding.end().output.contains("ERROR"))
            #expect(await !seven.end().output.contains("ERROR"))
            #expect(await stale.end().output.contains("LF001"))
            #expect(try await server.psql("SELECT token FROM writes ORDER BY id").lines == ["5", "6", "7"])
        }
    }

    @Test func `under repeatable read nothing slips through either`() async throws {
        try await PostgresServer.withServer { server async throws in
            _ = try await server.psql(
                FenceSQL.postgreSQL + "CREATE TABLE writes (id BIGSERIAL, token BIGINT NOT NULL);")
            _ = try await server.psql("SELECT fence('stock', 5)")
            let gate = try await Self.closedGate(server)
            // Its view of the data is from before 7 was there.
            let old = try server.starting(
                """
                BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM fences;
                SELECT pg_advisory_lock_shared(1);
                SELECT fence('stock', 6); INSERT INTO writes (token) VALUES (6); COMMIT;
                """)
            try await eventually("it has its view") { try await Self.blocked(server) == 1 }
            _ = try await server.psql("BEGIN; SELECT fence('stock', 7); INSERT INTO writes (token) VALUES (7); COMMIT;")
            try await Self.open(gate, server)
            let result = await old.end()
            #expect(result.output.contains("40001") || result.output.contains("LF001"), "\(result.output)")
            #expect(try await server.psql("SELECT token FROM writes").lines == ["7"])
        }
    }

    @Test func `a rollback, and a server that is killed before the commit, leave neither token nor write`() async throws
    {
        try await PostgresServer.withServer { server async throws in
            _ = try await server.psql(Self.tables + "INSERT INTO writes (token) VALUES (1)")
            _ = try await server.psql(Self.prepare + "BEGIN; EXECUTE raise('stock', 9, 'clock'); ROLLBACK;")
            #expect(try await server.psql("SELECT count(*) FROM fences").lines == ["0"])
            let open = try server.starting(
                Self.prepare
                    + """
                    BEGIN; EXECUTE raise('stock', 9, 'clock'); INSERT INTO writes (token) VALUES (9);
                    SELECT pg_sleep(600); COMMIT;
                    """)
            try await eventually("it has written") { try await Self.sleepers(server) == 1 }
            server.kill()
            _ = await open.end()
            try await server.start()
            #expect(try await server.psql("SELECT count(*) FROM fences").lines == ["0"])
            #expect(try await server.psql("SELECT token FROM writes").lines == ["1"])
            // What was committed is there after the next crash.
            _ = try await server.psql(
                Self.prepare
                    + "BEGIN; EXECUTE raise('stock', 8, 'clock'); INSERT INTO writes (token) VALUES (8); COMMIT;")
            server.kill()
            try await server.start()
            let after = try await server.psql(
                Self.prepare + "EXECUTE raise('stock', 7, 'clock'); EXECUTE read('stock');")
            #expect(after.lines == ["8|clock"])
        }
    }

    /// A session that holds the advisory lock 1 until it is ended, and whoever wants that lock as well.
    private static func closedGate(_ server: PostgresServer) async throws -> PostgresServer.Script {
        let gate = try server.starting("SELECT pg_advisory_lock(1); SELECT pg_sleep(600);")
        try await eventually("the gate is closed") { try await Self.sleepers(server) == 1 }
        return gate
    }

    private static func open(_ gate: PostgresServer.Script, _ server: PostgresServer) async throws {
        _ = try await server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        _ = await gate.end()
    }

    private static func sleepers(_ server: PostgresServer) async throws -> Int {
        Int(
            try await server.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").lines.first
                ?? "")
            ?? 0
    }

    private static func blocked(_ server: PostgresServer) async throws -> Int {
        Int(
            try await server.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").lines.first
                ?? "")
            ?? 0
    }
}
