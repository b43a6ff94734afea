/// What a server told about itself when it was greeted (`HELLO 3`). What it left out is empty, or -1.
struct RedisGreeting: Hashable, Sendable {
    /// `redis`, `valkey`, …
    var server: String
    /// `7.0.15`
    var version: String
    var protocolVersion: Int
    /// `standalone`, `cluster`, `sentinel`
    var mode: String
    /// `master`, `replica`
    var role: String
    /// The number by which the server knows this connection (`CLIENT LIST`).
    var id: Int64

    init(
        server: String = "",
        version: String = "",
        protocolVersion: Int = -1,
        mode: String = "",
        role: String = "",
        id: Int64 = -1
    ) {
        self.server = server
        self.version = version
        self.protocolVersion = protocolVersion
        self.mode = mode
        self.role = role
        self.id = id
    }

    /// Nil if `reply` is not what `HELLO` answers.
    init?(reply: RESPValue) {
        guard case .map(let entries) = reply else { return nil }
        self.init()
        for entry in entries {
            switch entry.key.string {
            case "server": self.server = entry.value.string ?? ""
            case "version": self.version = entry.value.string ?? ""
            case "proto": self.protocolVersion = entry.value.int.flatMap { Int(exactly: $0) } ?? -1
            case "mode": self.mode = entry.value.string ?? ""
            case "role": self.role = entry.value.string ?? ""
            case "id": self.id = entry.value.int ?? -1
            // Servers add to this map what they like.
            default: break
            }
        }
        guard self.protocolVersion == 3 else { return nil }
    }
}
