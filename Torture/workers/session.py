"""A worker's line to the recorder, and what it does under its lock."""

import os
import random
import socket
import threading
import time


class Session:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["TORTURE_SOCKET"])
        self.lines = self.socket.makefile("r")
        # A listener's thread speaks here, too.
        self.mutex = threading.Lock()
        self.lock = os.environ["TORTURE_LOCK"]
        self.backend = os.environ["TORTURE_BACKEND"]
        self.lease = float(os.environ["TORTURE_LEASE"])
        self.socket.sendall(f"hello {os.environ['TORTURE_WORKER']} {self.lock}\n".encode())

    def ask(self, *words):
        line = " ".join(str(word).replace("\n", " ").replace(" ", "_") or "-" for word in words)
        with self.mutex:
            self.socket.sendall(line[:400].encode() + b"\n")
            answer = self.lines.readline()
        if not answer:
            raise SystemExit(0)
        return answer.split()

    def goes_on(self):
        return self.ask("begin") == ["go"]

    def hold(self, token="-", is_lost=lambda: False, outlives_lease=False):
        """Reads both resources, waits, and writes both."""
        if is_lost():
            return
        versions = self.ask("held", token)
        seconds = random.uniform(0.02, 0.15)
        if random.random() < 0.12:
            seconds = self.lease * (1.5 if outlives_lease else 0.4)
        time.sleep(seconds)
        if not is_lost():
            self.ask("write", *versions)
        self.ask("releasing")

    def failed(self, error):
        self.ask("failed", f"{type(error).__name__}: {error}"[:200])
        time.sleep(random.uniform(0.03, 0.1))
