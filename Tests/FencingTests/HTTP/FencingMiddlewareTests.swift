#if Hummingbird
import DistributedLocks
import Fencing
import FencingHummingbird
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import TestKit
import Testing

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// The middleware in a real server on loopback, asked by URLSession.
@Suite(.timeLimit(.minutes(2))) struct FencingMiddlewareTests {
    private struct Answer {
        var status: Int
        var type: String?
        var body: String

        func member(_ name: String) -> String? {
            let json = try? JSONSerialization.jsonObject(with: Data(self.body.utf8)) as? [String: Any]
            return json?[name] as? String
        }
    }

    private struct Client: Sendable {
        let base: String

        func send(_ method: String, _ path: String, _ fields: [(name: String, value: String)]) async throws -> Answer {
            guard let url = URL(string: self.base + path) else { throw URLError(.badURL) }
            var request = URLRequest(url: url)
            request.httpMethod = method
            for field in fields { request.setValue(field.value, forHTTPHeaderField: field.name) }
            let (data, response) = try await URLSession.shared.data(for: request)
            let http = try #require(response as? HTTPURLResponse)
            return Answer(
                status: http.statusCode,
                type: http.value(forHTTPHeaderField: "Content-Type"),
                body: String(decoding: data, as: UTF8.self))
        }

        func put(_ path: String, _ token: Int64, _ resource: String, domain: String = "clock") async throws -> Answer {
            try await self.send(
                "PUT", path, FencingHeaders(resource: name(resource), stamp: stamp(token, domain)).fields)
        }
    }

    private static func serving(
        _ router: Router<BasicRequestContext>,
        _ body: @Sendable @escaping (Client) async throws -> Void
    ) async throws {
        let (ports, ready) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in ready.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            for await port in ports {
                try await body(Client(base: "http://127.0.0.1:\(port)"))
                break
            }
            group.cancelAll()
        }
    }

    @Test func `a stale holder's request is refused with 409 and a problem, and its handler does not run`() async throws
    {
        let written = Mutexed<[String]>([])
        let router = Router()
        router.add(middleware: FencingMiddleware())
        router.put("stock") { _, _ in
            let request = try #require(FencedRequest.current)
            written.withLock { $0.append("\(request.resource) \(request.stamp)") }
            return "written"
        }
        try await Self.serving(router) { client async throws in
            #expect(try await client.put("/stock", 5, "inventory/42").body == "written")
            #expect(try await client.put("/stock", 6, "inventory/42").status == 200)
            let stale = try await client.put("/stock", 5, "inventory/42")
            #expect(stale.status == 409)
            #expect(stale.type == "application/problem+json")
            #expect(stale.member("reason") == "stale")
            #expect(stale.member("token") == "5" && stale.member("highestToken") == "6")
            let other = try await client.put("/stock", 7, "inventory/42", domain: "zxid:1")
            #expect(other.status == 409)
            #expect(other.member("reason") == "otherDomain")
            #expect(try await client.put("/stock", 1, "inventory/43").status == 200)
            #expect(
                written.withLock { $0 }
                    == ["inventory/42 5 (clock)", "inventory/42 6 (clock)", "inventory/43 1 (clock)"])
        }
    }

    @Test func `reading needs no token, writing does, and nonsense is 400`() async throws {
        let router = Router()
        router.add(middleware: FencingMiddleware())
        router.get("stock") { _, _ in FencedRequest.current == nil ? "read" : "fenced" }
        router.put("stock") { _, _ in "written" }
        try await Self.serving(router) { client async throws in
            #expect(try await client.send("GET", "/stock", []).body == "read")
            #expect(try await client.send("PUT", "/stock", []).status == 428)
            #expect(try await client.send("PUT", "/stock", [("Fencing-Token", "x")]).status == 400)
            #expect(try await client.send("PUT", "/stock", [("Fencing-Token", "1")]).status == 400)
            #expect(try await client.put("/stock", 1, "a").status == 200)
            #expect(
                try await client.send("GET", "/stock", [("Fencing-Token", "2"), ("Fencing-Resource", "a")]).body
                    == "fenced")
            // A read that presented a token counts: nobody earlier may write after it.
            #expect(try await client.put("/stock", 1, "a").status == 409)
        }
    }

    @Test func `a route may name the resource, and a client cannot name another one`() async throws {
        let router = Router()
        router.add(middleware: FencingMiddleware { request, _ in request.uri.path })
        router.put("stock/:item") { _, _ in "written" }
        try await Self.serving(router) { client async throws in
            #expect(try await client.put("/stock/1", 5, "mine").status == 200)
            #expect(try await client.put("/stock/1", 4, "another").status == 409)
            #expect(try await client.put("/stock/2", 4, "another").status == 200)
        }
    }

    @Test func `a refusal that the handler throws is 409, too, and its other errors are what they were`() async throws {
        let router = Router()
        router.add(middleware: FencingMiddleware())
        router.put("stock") { _, _ -> String in
            throw FenceRefusal(resource: name("db"), presented: stamp(1), highest: stamp(9), reason: .stale)
        }
        router.put("broken") { _, _ -> String in throw HTTPError(.init(code: 418)) }
        try await Self.serving(router) { client async throws in
            let refused = try await client.put("/stock", 1, "a")
            #expect(refused.status == 409 && refused.member("resource") == "db")
            #expect(try await client.put("/broken", 1, "a").status == 418)
        }
    }

    @Test func `a later holder's request waits for one that was accepted, and what waited is refused if it is stale`()
        async throws
    {
        let (gate, open) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (inside, entered) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let order = Mutexed<[Int64]>([])
        let router = Router()
        router.add(middleware: FencingMiddleware())
        router.put("stock") { _, _ in
            let token = FencedRequest.current?.stamp.token.rawValue ?? 0
            if token == 5 {
                entered.yield()
                for await _ in gate { break }
            }
            order.withLock { $0.append(token) }
            return "written"
        }
        try await Self.serving(router) { client async throws in
            async let five = client.put("/stock", 5, "a").status
            for await _ in inside { break }
            async let six = client.put("/stock", 6, "a").status
            open.yield()
            #expect(try await five == 200)
            #expect(try await six == 200)
            #expect(order.withLock { $0 } == [5, 6])
            #expect(try await client.put("/stock", 5, "a").status == 409)
        }
    }
}
#endif
