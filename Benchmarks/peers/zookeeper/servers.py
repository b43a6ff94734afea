"""ZooKeeper servers of a measurement's own, on free loopback ports."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

from machine import SERVER_JARS, class_path, free_ports


class Servers:
    """One server, or several that agree. They write to disk as they would in earnest (forceSync is on)."""

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="dlock-zookeeper-")
        self.ports = free_ports(self.count)
        peers = free_ports(2 * self.count)
        self.processes = []
        for index, port in enumerate(self.ports):
            folder = f"{self.folder}/{index}"
            os.makedirs(f"{folder}/data")
            lines = [
                f"dataDir={folder}/data", f"clientPort={port}", "clientPortAddress=127.0.0.1", "tickTime=2000",
                "admin.enableServer=false", "4lw.commands.whitelist=*", "maxClientCnxns=0",
            ]
            if self.count > 1:
                lines += ["initLimit=10", "syncLimit=5"]
                lines += [f"server.{i + 1}=127.0.0.1:{peers[2 * i]}:{peers[2 * i + 1]}" for i in range(self.count)]
                with open(f"{folder}/data/myid", "w") as file:
                    file.write(str(index + 1))
            with open(f"{folder}/zoo.cfg", "w") as file:
                file.write("\n".join(lines))
            self.processes.append(subprocess.Popen(
                ["java", "-Xmx256m", "-cp", class_path(SERVER_JARS),
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{folder}/zoo.cfg"],
                stdout=open(f"{folder}/log", "w"), stderr=subprocess.STDOUT,
            ))
        deadline = time.monotonic() + 60
        for port in self.ports:
            while "zk_server_state" not in self.figures(port):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the servers did not start: see {self.folder}")
                time.sleep(0.05)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def hosts(self):
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @staticmethod
    def figures(port):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"mntr")
                text = b""
                while part := connection.recv(65_536):
                    text += part
        except OSError:
            return {}
        return dict(line.split("\t", 1) for line in text.decode().splitlines() if "\t" in line)

    def requests(self):
        """How many packets the servers have received from clients."""
        return sum(int(self.figures(port).get("zk_packets_received", 0)) for port in self.ports)
