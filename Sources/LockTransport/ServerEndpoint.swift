/// Where a server listens.
package enum ServerEndpoint: Hashable, Sendable {
    /// A host name, an IPv4 address or an IPv6 address (with or without brackets).
    case tcp(host: String, port: Int)
    case unixSocket(path: String)

    /// The host without the brackets of an IPv6 literal; nil for a unix socket.
    package var host: String? {
        switch self {
        case .tcp(let host, _):
            host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        case .unixSocket: nil
        }
    }
}

extension ServerEndpoint: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tcp(let host, let port):
            host.contains(":") && !host.hasPrefix("[") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unixSocket(let path): "unix:\(path)"
        }
    }
}
