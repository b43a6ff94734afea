import LockTransport

/// Where a Redis server listens.
typealias RedisEndpoint = ServerEndpoint

/// How a Redis server proves who it is.
typealias RedisTLS = TLSOptions
