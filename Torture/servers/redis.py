"""redis-servers with each way to keep data."""

import os
import shutil
import socket

from machine import free_ports
from servers.process import Process, folder, until

# What each mode keeps through a kill -9.
MODES = {
    "empty": ["--save", "", "--appendonly", "no"],
    "snapshot": ["--save", "1 1", "--appendonly", "no"],
    "everysec": ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"],
    "always": ["--save", "", "--appendonly", "yes", "--appendfsync", "always"],
}


def ask(port, *words, seconds=2):
    """One command on a connection of its own; the answer as it is written."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        text = f"*{len(words)}\r\n" + "".join(f"${len(str(word).encode())}\r\n{word}\r\n" for word in words)
        connection.sendall(text.encode())
        # It answers what it has read before it reads the end.
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")


def texts(answer):
    """The texts of an answer that is a list of them."""
    parts = answer.split("\r\n")
    return [parts[index + 1] for index in range(len(parts) - 1) if parts[index][:1] == "$" and parts[index][1:].isdigit()]


class RedisServer:
    def __init__(self, mode, arguments=(), environment=None):
        (self.port,) = free_ports(1)
        self.folder = folder("redis")
        self.arguments = [*MODES[mode], *arguments]
        self.environment = environment
        self.mode = mode
        self.process = None
        try:
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self, extra=()):
        self.process = Process(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--daemonize", "no",
             "--protected-mode", "no", *self.arguments, *extra],
            f"{self.folder}/log", self.environment)
        until("redis-server answers", 15, self.is_well)

    def is_well(self):
        try:
            return self.ask("PING").startswith("+PONG")
        except OSError:
            return False

    def ask(self, *words):
        return ask(self.port, *words)

    def kill(self):
        self.process.kill()

    def forget(self):
        for name in os.listdir(self.folder):
            path = f"{self.folder}/{name}"
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif name.endswith(".rdb"):
                os.unlink(path)

    def remove(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # A save that fails once; from then on a setting decides whether writes are refused for it.

    def fail_save(self):
        blocked = f"{self.folder}/dump.rdb"
        if os.path.exists(blocked):
            os.unlink(blocked)
        os.mkdir(blocked)
        self.ask("CONFIG", "SET", "save", "3600 1000000")
        self.refuse_writes(False)
        self.ask("BGSAVE")
        until("the save fails", 15, lambda: "rdb_last_bgsave_status:err" in self.ask("INFO", "persistence"))

    def refuse_writes(self, refuses):
        self.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes" if refuses else "no")
