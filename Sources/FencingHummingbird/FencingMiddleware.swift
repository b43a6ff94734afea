#if Hummingbird
public import DistributedLocks
public import Fencing
import HTTPTypes
public import Hummingbird
import NIOCore

/// Refuses requests whose fencing token is below one that was seen before.
///
/// ```swift
/// router.group("stock").add(middleware: FencingMiddleware { request, _ in request.uri.path })
///     .put(":item") { request, context in
///         let fencing = FencedRequest.current
///         …
///     }
/// ```
///
/// Requests for one resource are handled one after another, in the order of their arrival, so that no handler goes on
/// while a later holder's runs. A request with a stale token is answered with 409 and an `application/problem+json`
/// (RFC 9457); one whose fields make no sense with 400; one without a token with 428, unless it only reads (GET, HEAD,
/// OPTIONS). A `FenceRefusal` that the handler throws becomes 409, too.
///
/// What the middleware remembers ends with the process, and other processes do not see it. If data outlives the process,
/// or several processes write it, check the token again where it is written, as `db.fenced(…)` does in the same
/// transaction: the handler finds it in ``FencedRequest/current``.
public struct FencingMiddleware<Context: RequestContext>: RouterMiddleware {
    private let fences: ProcessFences
    private let resource: @Sendable (Request, Context) throws -> String?

    /// Refuses what is stale by the fences of this process.
    ///
    /// - Parameters:
    ///   - fences: What was seen before. Give the same to each middleware that guards the same resources.
    ///   - resource: Which resource a request writes to; `nil` lets the header field `Fencing-Resource` say it. Name it
    ///     yourself wherever the route tells it: a client that names another one is not checked against the right fence.
    public init(
        fences: ProcessFences = ProcessFences(),
        resource: @escaping @Sendable (Request, Context) throws -> String? = { _, _ in nil }
    ) {
        self.fences = fences
        self.resource = resource
    }

    /// Lets the request through or refuses it.
    @concurrent
    public func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            let headers = try FencingHeaders { name in
                HTTPField.Name(name).map { request.headers[values: $0] } ?? []
            }
            guard let headers else {
                guard [.get, .head, .options].contains(request.method) else {
                    return Self.response(.tokenRequired)
                }
                return try await next(request, context)
            }
            let named = try self.resource(request, context)
            guard let name = named.map({ try? LockName($0) }) ?? headers.resource else {
                return Self.response(named == nil ? .resourceRequired : .resourceInvalid)
            }
            let fenced = FencedRequest(resource: name, stamp: headers.stamp)
            return try await self.fences.fenced(name, headers.stamp) {
                try await FencedRequest.$bound.withValue(fenced) { try await next(request, context) }
            }
        } catch let refusal as FenceRefusal {
            return Self.response(.refused(refusal))
        } catch let malformed as FencingHeaders.Malformed {
            return Self.response(.malformed(malformed))
        } catch let overload as ProcessFences.Overload {
            return Self.response(.overloaded(overload))
        }
    }

    private static func response(_ problem: FencingProblem) -> Response {
        Response(
            status: .init(code: problem.status, reasonPhrase: problem.title),
            headers: [.contentType: FencingProblem.contentType],
            body: .init(byteBuffer: ByteBuffer(string: problem.json))
        )
    }
}

/// What a request that the middleware let through presented.
public struct FencedRequest: Hashable, Sendable {
    /// What it writes to.
    public let resource: LockName
    /// Its token and the token's domain: for `db.fenced(…)`.
    public let stamp: FencingStamp

    @TaskLocal static var bound: FencedRequest?

    /// What the request that is being handled by this task presented; `nil` if it has no token (it only reads), or
    /// outside of the middleware.
    public static var current: FencedRequest? { Self.bound }
}
#endif
