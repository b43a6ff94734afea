"""The servers of each backend, the faults that happen to them, and what is left of locks there."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

from machine import free_ports
from servers.clock import Clock
from servers.namespaces import Namespaces
from servers.process import folder
from servers.redis import RedisServer
from servers.sentinel import SentinelSetup
from servers.zookeeper import Ensemble

HERE = os.path.dirname(os.path.abspath(__file__))
OF_WORKERS = ("stop", "kill")
STEPS = (2, -2, 60, -60, 3600, -3600)
KEY_BEFORE = {"dlock": "dlock:", "redis-py": "", "python-redis-lock": "lock:", "pottery": "redlock:"}


class Proxies:
    """For each library and server a port, whose connections can go half-open."""

    def __init__(self, libraries, ports):
        self.ports, self.children = {}, {}
        for library in libraries:
            self.ports[library] = dict(zip(ports, free_ports(len(ports))))
            pairs = ",".join(f"{near}={far}" for far, near in self.ports[library].items())
            child = subprocess.Popen(
                ["/usr/bin/python3", f"{HERE}/servers/proxy.py", pairs], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, start_new_session=True)
            assert child.stdout.readline() == "ready\n"
            self.children[library] = child

    def cut(self, library):
        child = self.children[library]
        child.stdin.write("\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    def remove(self):
        for child in self.children.values():
            child.kill()
            child.wait()


class World:
    """What all have. A fault of the servers is a method named after its kind; it counts what it calls `fault` with."""

    lease = 1.0
    # Told what belongs into the history besides; whoever runs the world puts its own in place.
    note = staticmethod(lambda event, **details: None)
    gap = (0.4, 1.0)

    def __init__(self, kind, libraries, dlock):
        self.kind, self.libraries, self.dlock = kind, libraries, dlock
        self.folder = folder("world")
        self.proxies = self.namespaces = self.servers = self.shim = None
        if kind == "clock":
            self.shim = Clock(self.folder)
        try:
            self.make()
        except BaseException:
            self.remove()
            raise

    def proxy(self, ports):
        if self.kind == "half-open":
            self.proxies = Proxies(self.libraries, ports)

    def port(self, library, port):
        return self.proxies.ports[library][port] if self.proxies else port

    def prefix(self, index):
        return []

    def environment(self, library):
        return {}

    def inject(self, fault):
        """One fault, of the kind of this world, from its beginning to its end."""
        getattr(self, "killed" if self.kind.startswith("killed") else self.kind.replace("-", "_"))(fault)

    def half_open(self, fault):
        for library in self.libraries:
            fault(library=library, count=self.proxies.cut(library))
        time.sleep(random.uniform(0.8, 1.5))

    def heal(self):
        pass

    def remove(self):
        if self.proxies:
            self.proxies.remove()
        for each in self.servers or []:
            each.remove()
        if self.namespaces:
            self.namespaces.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisWorld(World):
    kinds = (
        *OF_WORKERS, "half-open", "killed-snapshot", "killed-everysec", "killed-always", "restart-empty", "clock", "misconf")
    count = 1

    def make(self):
        mode = self.kind.removeprefix("killed-") if self.kind.startswith("killed-") else "empty"
        self.servers, self.steps = [], []
        for number in range(self.count):
            steps = self.shim.steps(str(number)) if self.shim else None
            self.steps.append(steps)
            self.servers.append(RedisServer(mode, environment=steps.environment if steps else None))
        if self.kind == "misconf":
            for server in self.servers:
                server.fail_save()
        self.proxy([each.port for each in self.servers])

    def address(self, library, index):
        address = f"127.0.0.1:{self.port(library, self.servers[0].port)}"
        return f"redis://{address}" if library == "dlock" else address

    def killed(self, fault):
        server = random.choice(self.servers)
        fault()
        server.kill()
        if self.kind == "restart-empty":
            server.forget()
        time.sleep(random.choice((0, random.uniform(0, 0.6))))
        server.start()
        self.note("restarted", server=server.address)

    restart_empty = killed

    def clock(self, fault):
        index = random.randrange(len(self.servers))
        fault()
        self.steps[index].set(random.choice(STEPS))
        time.sleep(random.uniform(0.3, 1.2))
        fault()
        self.steps[index].set(0)

    def misconf(self, fault):
        server = random.choice(self.servers)
        fault()
        server.refuse_writes(True)
        time.sleep(random.uniform(0.2, 1.2))
        server.refuse_writes(False)
        self.note("writes", server=server.address)

    def leftovers(self, library, locks):
        found = []
        for server in self.servers:
            for lock in locks:
                key = KEY_BEFORE[library] + lock
                if server.ask("EXISTS", key).startswith(":1"):
                    found.append(f"{key}: {server.ask('GET', key)[:200]!r}, {server.ask('PTTL', key).strip()}")
        return found


class RedlockWorld(RedisWorld):
    kinds = (*OF_WORKERS, "half-open", "killed-always", "restart-empty", "clock", "misconf")
    count = 5

    def make(self):
        super().make()
        if "dlock" in self.libraries:
            subprocess.run([self.dlock, "init", "--backend", self.address("dlock", 0)], check=True, capture_output=True)

    def address(self, library, index):
        addresses = ",".join(f"127.0.0.1:{self.port(library, each.port)}" for each in self.servers)
        return f"redlock://{addresses}?longest-lease=1s&set=torture" if library == "dlock" else addresses


class SentinelWorld(World):
    kinds = (*OF_WORKERS, "failover")
    lease = 2.0

    def make(self):
        self.setup = SentinelSetup()
        self.servers = [self.setup]
        self.setup.start()

    def address(self, library, index):
        return f"redis+sentinel://{self.setup.addresses}/mymaster"

    def failover(self, fault):
        try:
            self.setup.settle(replicas=1)
            if random.choice((self.setup.order, self.setup.crash))():
                fault()
        except TimeoutError as error:
            print(f"sentinel: {error}", file=sys.stderr)

    def heal(self):
        self.setup.settle(60)

    def leftovers(self, library, locks):
        master = self.setup.master()
        return [lock for lock in locks if master.ask("EXISTS", KEY_BEFORE[library] + lock).startswith(":1")]


class ZooKeeperWorld(World):
    kinds = (*OF_WORKERS, "half-open", "killed-follower", "failover", "cut-off", "clock")
    lease = 2.0
    folders = {"dlock": "/torture/dlock/", "kazoo": "/torture-kazoo/", "curator": "/torture-curator/"}

    def make(self):
        if self.kind == "cut-off":
            self.namespaces = Namespaces(3)
        self.ensemble = Ensemble(self.shim, self.namespaces)
        self.servers = [self.ensemble]
        self.ensemble.start()
        self.proxy([each.port for each in self.ensemble.servers])

    def prefix(self, index):
        return ["ip", "netns", "exec", self.namespaces.name(index % 3 + 1)] if self.namespaces else []

    def address(self, library, index):
        servers = self.ensemble.servers
        if self.namespaces:
            # Each host's clients use the server of their host: who is cut off, is cut off with it.
            servers = [servers[index % 3]]
        hosts = ",".join(f"{each.host}:{self.port(library, each.port)}" for each in servers)
        return f"zookeeper://{hosts}/torture?session-timeout={self.lease:.0f}s" if library == "dlock" else hosts

    def restart(self, server, fault):
        if server is None:
            return
        fault()
        server.kill()
        time.sleep(random.uniform(0, 0.5))
        server.launch()
        self.ensemble.serve()
        self.note("restarted", server=server.address)

    def killed(self, fault):
        self.restart(random.choice(self.ensemble.followers() or [None]), fault)

    def failover(self, fault):
        self.restart(self.ensemble.leader(), fault)

    def cut_off(self, fault):
        server = random.choice(self.ensemble.followers() or [None])
        if server is None:
            return time.sleep(0.5)
        self.namespaces.set_link(server.number, False)
        fault(host=server.number)
        time.sleep(random.uniform(self.lease * 1.2, self.lease * 1.8))
        self.namespaces.set_link(server.number, True)
        self.note("connected", host=server.number)
        self.ensemble.serve()

    def clock(self, fault):
        steps = random.choice(self.ensemble.clocks)
        fault()
        steps.set(random.choice(STEPS))
        time.sleep(random.uniform(0.3, 1.2))
        fault()
        steps.set(0)

    def heal(self):
        if self.namespaces:
            for host in (1, 2, 3):
                self.namespaces.set_link(host, True)
        self.ensemble.serve()

    def leftovers(self, library, locks):
        text = self.ensemble.leader().ask("dump")
        return [line.strip() for line in text.splitlines() if line.strip().startswith(self.folders[library])]


class EmbeddedWorld(World):
    kinds = (*OF_WORKERS, "clock")

    def make(self):
        self.servers = []
        self.steps = self.shim.steps("host") if self.shim else None

    def address(self, library, index):
        return f"embedded://{self.folder}/locks.db"

    def environment(self, library):
        if not self.steps:
            return {}
        return {"TORTURE_CLOCK": self.steps.environment["LD_PRELOAD"], "DLOCK_CLOCK_STEP": self.steps.file}

    def clock(self, fault):
        fault()
        self.steps.set(random.choice(STEPS))
        time.sleep(random.uniform(0.2, 0.6))
        fault()
        self.steps.set(0)

    def leftovers(self, library, locks):
        out = subprocess.run(
            [self.dlock, "status", "--json", "--backend", self.address(library, 0)], check=True, capture_output=True).stdout
        return [json.dumps(each) for each in json.loads(out)["locks"] if each.get("holder")]


WORLDS = {
    "redis": RedisWorld, "redlock": RedlockWorld, "sentinel": SentinelWorld, "zookeeper": ZooKeeperWorld,
    "embedded": EmbeddedWorld,
}
