import LockTransport

/// The TLS context of the place that is connected to: read once, so that a thousand reconnects do not read the system's
/// authorities a thousand times.
struct RedisTLSContexts {
    private var known: (endpoint: RedisEndpoint, context: TLSContext)?

    /// `nil` where there is no TLS.
    mutating func context(of configuration: RedisClientConfiguration, at endpoint: RedisEndpoint) throws -> TLSContext?
    {
        guard let tls = configuration.tls else { return nil }
        if let known = self.known, known.endpoint == endpoint { return known.context }
        let context = try TLSContext(tls, endpoint: endpoint)
        self.known = (endpoint, context)
        return context
    }

    /// The files may be put right meanwhile.
    mutating func forget() { self.known = nil }
}
