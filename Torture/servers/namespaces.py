"""Hosts of a run's own: network namespaces at a bridge, each by a link that can be taken down."""

import ctypes
import os
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


class Namespaces:
    def __init__(self, count):
        self.count = count
        self.stem = f"dlt-{os.getpid()}"
        self.hub = f"{self.stem}-hub"
        self.made = []
        try:
            self.make()
        except BaseException:
            self.remove()
            raise

    def name(self, host):
        return f"{self.stem}-{host}"

    def address(self, host):
        return f"10.77.0.{host}"

    def make(self):
        self.add(self.hub)
        self.in_hub("link", "add", "bridge", "type", "bridge")
        self.in_hub("link", "set", "bridge", "up")
        for host in range(1, self.count + 1):
            name = self.name(host)
            self.add(name)
            self.in_hub("link", "add", f"h{host}", "type", "veth", "peer", "name", "eth", "netns", name)
            self.in_hub("link", "set", f"h{host}", "master", "bridge")
            self.in_hub("link", "set", f"h{host}", "up")
            run("ip", "-n", name, "address", "add", f"{self.address(host)}/24", "dev", "eth")
            run("ip", "-n", name, "link", "set", "eth", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    def add(self, name):
        run("ip", "netns", "add", name)
        self.made.append(name)

    def in_hub(self, *words):
        run("ip", "-n", self.hub, *words)

    def set_link(self, host, is_up):
        self.in_hub("link", "set", f"h{host}", "up" if is_up else "down")

    def remove(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def socket_in(namespace):
    """A socket of another namespace: a socket stays where it was made, so a thread goes there and makes it."""
    if namespace is None:
        return socket.socket()
    made = []

    def make():
        with open(f"/var/run/netns/{namespace}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                return
        made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise OSError(f"{namespace} cannot be entered")
    return made[0]
