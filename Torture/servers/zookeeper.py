"""ZooKeeper ensembles, on loopback or with a network namespace for each server."""

import os
import shutil

from machine import SERVER_JARS, class_path, free_ports
from servers.namespaces import socket_in
from servers.process import Process, folder, until

TICK_MILLISECONDS = 500
SMALL_JAVA = ["java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]


class ZooKeeperServer:
    def __init__(self, number, host, namespace, port, ensemble, environment):
        self.number, self.host, self.namespace, self.port = number, host, namespace, port
        self.folder = folder("zookeeper")
        self.environment = environment
        os.mkdir(f"{self.folder}/data")
        lines = [
            f"dataDir={self.folder}/data", f"clientPort={port}", f"clientPortAddress={host}", f"tickTime={TICK_MILLISECONDS}",
            "admin.enableServer=false", "4lw.commands.whitelist=*", "maxClientCnxns=0", "initLimit=20", "syncLimit=10", *ensemble,
        ]
        with open(f"{self.folder}/zoo.cfg", "w") as file:
            file.write("\n".join(lines))
        with open(f"{self.folder}/data/myid", "w") as file:
            file.write(str(number))
        self.process = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def launch(self):
        prefix = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        self.process = Process(
            [*prefix, *SMALL_JAVA, "-Dzookeeper.forceSync=no", "-cp", class_path(SERVER_JARS),
             "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{self.folder}/zoo.cfg"],
            f"{self.folder}/log", self.environment)

    def ask(self, word):
        try:
            with socket_in(self.namespace) as connection:
                connection.settimeout(2)
                connection.connect((self.host, self.port))
                connection.sendall(word.encode())
                parts = []
                while part := connection.recv(65_536):
                    parts.append(part)
                return b"".join(parts).decode(errors="replace")
        except OSError:
            return ""

    def role(self):
        """leader, follower, or nothing while it does not serve."""
        for line in self.ask("mntr").splitlines():
            if line.startswith("zk_server_state"):
                return line.split("\t")[1]
        return ""

    def kill(self):
        self.process.kill()

    def remove(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Ensemble:
    def __init__(self, clock=None, namespaces=None):
        self.servers = []
        count = 3
        peers = free_ports(2 * count)
        ports = free_ports(count)
        hosts = [namespaces.address(i + 1) if namespaces else "127.0.0.1" for i in range(count)]
        lines = [f"server.{i + 1}={hosts[i]}:{peers[2 * i]}:{peers[2 * i + 1]}" for i in range(count)]
        self.clocks = []
        for i in range(count):
            steps = clock.steps(f"zookeeper-{i}") if clock else None
            self.clocks.append(steps)
            self.servers.append(ZooKeeperServer(
                i + 1, hosts[i], namespaces.name(i + 1) if namespaces else None, ports[i], lines,
                steps.environment if steps else None))

    def start(self):
        for server in self.servers:
            server.launch()
        self.serve()

    def serve(self):
        until("all servers serve", 60, lambda: sorted(each.role() for each in self.servers) == ["follower", "follower", "leader"])

    def leader(self):
        return next((each for each in self.servers if each.role() == "leader"), None)

    def followers(self):
        return [each for each in self.servers if each.role() == "follower"]

    def remove(self):
        for server in self.servers:
            server.remove()
