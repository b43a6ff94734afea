/// Where a server is, as far as that is known for now.
struct RedisLocation: Hashable, Sendable {
    var endpoint: RedisEndpoint
    /// What the locator says of it. It is bound to the connection that is made: commands may end with it
    /// (``RedisCommand/endsWithTag``), and each reply tells the tag of the connection that carried its request.
    var tag: Int64

    init(endpoint: RedisEndpoint, tag: Int64) {
        self.endpoint = endpoint
        self.tag = tag
    }
}

/// Finds a server that is not always in the same place.
protocol RedisLocator: Sendable {
    /// What is looked for, in logs.
    var name: String { get }
    /// What an endpoint of its is, for errors: `the address that … gives`.
    var origin: String { get }

    /// Called on the client's event loop, before each attempt to connect.
    ///
    /// - Parameter completion: called once. Of an error the code ``RedisError/Code/unusableServer`` says that trying again
    ///   is not going to help.
    func locate(_ completion: @escaping @Sendable (Result<RedisLocation, RedisError>) -> Void)
}
