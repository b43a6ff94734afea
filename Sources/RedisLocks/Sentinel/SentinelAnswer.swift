import LockTransport

/// What one Sentinel says of a master.
struct SentinelAnswer: Hashable, Sendable {
    /// What it keeps of the master (`SENTINEL MASTER`).
    struct Record: Hashable, Sendable {
        var endpoint: RedisEndpoint
        /// The configuration epoch. It rises with each failover.
        var epoch: Int64
        var flags: Set<String>

        init(endpoint: RedisEndpoint, epoch: Int64, flags: Set<String>) {
            self.endpoint = endpoint
            self.epoch = epoch
            self.flags = flags
        }

        /// Address and epoch belong together. During a failover, for about a second, the leader's record has the new epoch and
        /// still the old address; its flags say so.
        var isCalm: Bool {
            self.flags.contains("master") && self.flags.isDisjoint(with: ["s_down", "o_down", "failover_in_progress"])
        }
    }

    /// Where it sends clients (`SENTINEL GET-MASTER-ADDR-BY-NAME`). Nil: it knows no such master.
    var address: RedisEndpoint?
    var record: Record?

    init(address: RedisEndpoint?, record: Record?) {
        self.address = address
        self.record = record
    }

    /// Nil if `address` is no answer that makes sense.
    ///
    /// - Parameter record: nil if it was refused, as it is for a name that is not known.
    init?(address: RESPValue, record: RESPValue?) {
        if case .null = address {
            self.init(address: nil, record: nil)
            return
        }
        guard let parts = address.elements, parts.count == 2, let endpoint = Self.endpoint(parts[0], parts[1]) else {
            return nil
        }
        self.init(address: endpoint, record: record.flatMap { Record($0) })
    }

    static func endpoint(_ host: RESPValue?, _ port: RESPValue?) -> RedisEndpoint? {
        guard let host = host?.string, !host.isEmpty, let port = port?.int, (1...65_535).contains(port) else {
            return nil
        }
        return .tcp(host: host, port: Int(port))
    }

    static func commands(_ master: String) -> [RedisCommand] {
        [RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master), RedisCommand("SENTINEL", "MASTER", master)]
    }
}

extension SentinelAnswer.Record {
    init?(_ value: RESPValue) {
        guard let endpoint = SentinelAnswer.endpoint(value["ip"], value["port"]),
            let epoch = value["config-epoch"]?.int, epoch >= 0, let flags = value["flags"]?.string
        else { return nil }
        self.init(endpoint: endpoint, epoch: epoch, flags: Set(flags.split(separator: ",").map(String.init)))
    }
}
