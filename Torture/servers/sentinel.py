"""One master, two replicas and three Sentinels."""

import shutil

from machine import free_ports
from servers.process import Process, folder, until
from servers.redis import RedisServer, ask, texts

NAME = "mymaster"
SETTINGS = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]


class Sentinel:
    def __init__(self, master_port):
        (self.port,) = free_ports(1)
        self.folder = folder("sentinel")
        with open(f"{self.folder}/sentinel.conf", "w") as file:
            file.write("\n".join([
                f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "protected-mode no",
                f"sentinel monitor {NAME} 127.0.0.1 {master_port} 2", f"sentinel down-after-milliseconds {NAME} 700",
                f"sentinel failover-timeout {NAME} 3000", f"sentinel parallel-syncs {NAME} 2",
            ]) + "\n")
        self.process = Process(["redis-server", f"{self.folder}/sentinel.conf", "--sentinel"], f"{self.folder}/log")

    def master(self):
        try:
            answer = texts(ask(self.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))
            return int(answer[1])
        except (OSError, IndexError, ValueError):
            return None

    def fields(self):
        try:
            words = texts(ask(self.port, "SENTINEL", "MASTER", NAME))
        except OSError:
            return {}
        return dict(zip(words[::2], words[1::2]))

    def remove(self):
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class SentinelSetup:
    def __init__(self):
        self.servers, self.sentinels = [], []

    def start(self):
        self.servers.append(RedisServer("empty", SETTINGS))
        for _ in range(2):
            self.servers.append(RedisServer("empty", SETTINGS))
            self.servers[-1].ask("REPLICAOF", "127.0.0.1", self.servers[0].port)
        for _ in range(3):
            self.sentinels.append(Sentinel(self.servers[0].port))
        self.settle(60)

    @property
    def addresses(self):
        return ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)

    def master(self):
        """Where the Sentinels agree to send clients."""
        ports = {each.master() for each in self.sentinels}
        return next((each for each in self.servers if ports == {each.port}), None)

    def is_settled(self, replicas):
        master = self.master()
        if not master or not master.is_well():
            return False
        said = master.ask("INFO", "replication")
        if "role:master" not in said or said.count("state=online") < replicas:
            return False
        for each in self.sentinels:
            fields = each.fields()
            if fields.get("flags") != "master" or fields.get("num-other-sentinels") != "2" or fields.get("num-slaves") != "2":
                return False
        return True

    def settle(self, seconds=30, replicas=2):
        """The Sentinels agree, and the master has so many replicas."""
        until("the Sentinels see everything in order", seconds, lambda: self.is_settled(replicas))

    def order(self):
        """Orders a failover; false if no Sentinel takes the order."""
        before = self.master()
        if before is None or "+OK" not in ask(self.sentinels[0].port, "SENTINEL", "FAILOVER", NAME):
            return False
        until("there is another master", 30, lambda: self.master() not in (None, before))
        return True

    def crash(self):
        """Kills the master, and starts it again as a replica of the next one."""
        before = self.master()
        if before is None:
            return False
        before.kill()
        until("there is another master", 30, lambda: self.master() not in (None, before))
        before.start(["--replicaof", "127.0.0.1", str(self.master().port)])
        return True

    def remove(self):
        for each in self.sentinels + self.servers:
            each.remove()
