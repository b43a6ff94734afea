import LockKernel
import Logging
import NIOCore

/// Settings of the server with which it forgets locks are warned of, once each. Nothing depends on it: a user need not be
/// allowed to ask.
extension RedisLockBackend {
    /// Asks after the requests that waited for the connection, and only where somebody reads the log.
    func lookAtSettings(on id: RedisConnectionID) {
        guard self.logger.logLevel <= .warning else { return }
        self.client.eventLoop.execute { [weak self] in
            guard let self else { return }
            let deadline = self.environment.now + self.configuration.requestTimeout
            self.client.submit(RedisCommand("INFO", "memory", "persistence"), deadline: deadline, onlyOn: id) {
                [weak self] info in
                guard let self, let info = self.setting(info)?.string else { return }
                self.warnOfEviction(info)
                guard ServerSettings.value(of: "aof_enabled", in: info) == "0" else { return }
                self.client.submit(RedisCommand("CONFIG", "GET", "save"), deadline: deadline, onlyOn: id) {
                    [weak self] save in
                    guard let self, self.setting(save)?["save"]?.string?.isEmpty == true else { return }
                    self.warn(
                        "the server keeps nothing on its disk: when it restarts, it has forgotten all locks, and grants them anew",
                        setting: "appendonly no, save \"\""
                    )
                }
            }
        }
    }

    private func setting(_ outcome: RedisClient.Outcome) -> RESPValue? {
        switch outcome {
        case .success(let reply):
            return reply.value
        case .failure(let error):
            // Asked again and again, it would fill the server's log of what was denied.
            if error.code == .refused { self.ask { $0.settingsRefused() } }
            return nil
        }
    }

    private func warnOfEviction(_ info: String) {
        guard let policy = ServerSettings.value(of: "maxmemory_policy", in: info), policy != "noeviction" else {
            return
        }
        self.warn(
            "the server throws keys away when its memory is full: a lock may be lost, and granted to another, at any time",
            setting: "maxmemory-policy \(policy)"
        )
    }

    private func warn(_ message: Logger.Message, setting: String) {
        guard self.ask({ $0.settingFound(setting) }) else { return }
        self.logger.warning(
            message, metadata: ["lock.backend": "\(self.identity)", "redis.setting": "\(setting)"])
    }
}

/// What `INFO` answers.
enum ServerSettings {
    static func value(of field: String, in info: String) -> Substring? {
        info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(field + ":") }?.dropFirst(field.utf8.count + 1)
    }
}
