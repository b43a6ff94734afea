import LockTransport
import Testing

@testable import RedisLocks

@Suite struct SecretsTests {
    @Test func `a configuration shows neither its password nor its set-up commands`() {
        var configuration = RedisClientConfiguration(endpoint: .tcp(host: "h", port: 1), password: "hunter2")
        configuration.setup = [RedisCommand("AUTH", "hunter2")]
        var dumped = ""
        dump(configuration, to: &dumped)
        dump(configuration.setup, to: &dumped)
        for text in [dumped, "\(configuration)", String(reflecting: configuration), "\(configuration.setup)"] {
            #expect(!text.contains("hunter2"), "\(text)")
            #expect(!text.contains("104"), "the bytes of the password: \(text)")
        }
    }

    @Test func `an endpoint is described as people write it`() {
        #expect("\(RedisEndpoint.tcp(host: "h", port: 1))" == "h:1")
        #expect("\(RedisEndpoint.tcp(host: "::1", port: 1))" == "[::1]:1")
        #expect("\(RedisEndpoint.tcp(host: "[::1]", port: 1))" == "[::1]:1")
        #expect("\(RedisEndpoint.unixSocket(path: "/s"))" == "unix:/s")
    }
}
