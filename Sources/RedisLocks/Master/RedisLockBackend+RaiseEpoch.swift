public import DistributedLocks
import LockTransport

extension RedisLockBackend {
    /// Makes the Sentinels' epoch outrank every epoch that the master's data has seen.
    ///
    /// Sentinels that were set up anew begin at 0, and locks on data that has seen higher epochs are refused
    /// (`DLOCKEPOCH`). This tells every Sentinel, in the way in which they tell each other (a message on
    /// `__sentinel__:hello`), that the master where it is has an epoch one above the highest. There is no failover, no holder
    /// loses a lock, and the next failover goes on counting from there.
    ///
    /// All configured Sentinels have to be reachable, agree where the master is and see no failover. Call it while
    /// ``run()`` runs, with a user that may read `dlock.epoch` and, at the Sentinels, `SENTINEL SENTINELS`,
    /// `SENTINEL FLUSHCONFIG` and `PUBLISH`.
    ///
    /// - Returns: the Sentinels' epoch from now on; the one that they had if that was high enough.
    /// - Throws: `LockError` `invalidConfiguration` if the backend has no Sentinels; `unreachable` if they do not agree, or not
    ///   all can be reached; `serverRefused`.
    @discardableResult
    public func raiseEpoch() async throws(LockError) -> Int64 {
        guard let monitor = self.monitor else {
            throw LockError(.invalidConfiguration, "there are no Sentinels, and so no epoch to raise")
        }
        let seen = try await self.highestEpochSeen()
        let (master, epoch) = try await self.agreedMaster(monitor)
        guard epoch < seen else { return epoch }
        guard seen < FencingToken.maximumEpoch else {
            throw LockError(.serverRefused, "the data has seen the epoch \(seen), and tokens can carry no higher one")
        }
        let raised = seen + 1
        for client in monitor.clients { try await self.announce(raised, of: master, to: client, monitor.name) }
        let (after, now) = try await self.agreedMaster(monitor)
        guard after == master, now >= raised else {
            throw LockError(.serverRefused, "the Sentinels have not taken over the epoch \(raised): they say \(now)")
        }
        return now
    }

    private func highestEpochSeen() async throws(LockError) -> Int64 {
        let value = try await self.ask(RedisCommand("GET", "dlock.epoch"), deadline: self.deadline(nil)).value
        if case .null = value { return 0 }
        guard let epoch = value.int else {
            throw LockError(.serverRefused, "the key dlock.epoch holds something that is no epoch")
        }
        return epoch
    }

    /// Where all Sentinels say that the master is, and the lowest epoch that one of them has for it.
    private func agreedMaster(_ monitor: SentinelMonitor) async throws(LockError) -> (RedisEndpoint, Int64) {
        var records: [SentinelAnswer.Record] = []
        for (answer, client) in zip(await monitor.census(deadline: self.deadline(nil)), monitor.clients) {
            let endpoint = client.configuration.endpoint
            switch answer {
            case .failure(let error):
                throw LockError(error)
            case .success(let answer):
                guard let record = answer?.record, record.isCalm, record.endpoint == answer?.address else {
                    throw LockError(
                        .unreachable, "\(endpoint): this Sentinel sees a failover, or a master that is down")
                }
                records.append(record)
            }
        }
        guard let first = records.first, records.allSatisfy({ $0.endpoint == first.endpoint }) else {
            throw LockError(.unreachable, "the Sentinels do not agree where the master '\(monitor.name)' is")
        }
        return (first.endpoint, records.map(\.epoch).min() ?? 0)
    }

    /// Speaks to a Sentinel as another one that it knows.
    private func announce(
        _ epoch: Int64,
        of master: RedisEndpoint,
        to client: RedisClient,
        _ name: String
    ) async throws(LockError) {
        let others = try await self.ask(client, RedisCommand("SENTINEL", "SENTINELS", name)).elements ?? []
        guard let other = others.first, let host = other["ip"]?.string, let port = other["port"]?.int,
            let id = other["runid"]?.string, case .tcp(let masterHost, let masterPort) = master
        else {
            throw LockError(
                .serverRefused,
                "\(client.configuration.endpoint): this Sentinel knows no other one, and can be told nothing"
            )
        }
        let message = "\(host),\(port),\(id),\(epoch),\(name),\(masterHost),\(masterPort),\(epoch)"
        _ = try await self.ask(client, RedisCommand("PUBLISH", "__sentinel__:hello", message))
        _ = try await self.ask(client, RedisCommand("SENTINEL", "FLUSHCONFIG"))
    }

    private func ask(_ client: RedisClient, _ command: RedisCommand) async throws(LockError) -> RESPValue {
        do throws(RedisError) {
            return try await client.send(command, deadline: self.deadline(nil)).value
        } catch {
            throw LockError(error)
        }
    }
}
