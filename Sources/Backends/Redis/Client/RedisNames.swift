package import Transport

/// Where a Redis server listens.
package typealias RedisEndpoint = ServerEndpoint

/// How a Redis server proves who it is.
package typealias RedisTLS = TLSOptions
