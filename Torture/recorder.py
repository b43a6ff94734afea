"""Writes the history of a run, and keeps the resources that the locks protect.

Everybody tells it by one socket, and it stamps what it is told with CLOCK_BOOTTIME: one clock, one order. A worker waits for the answer
before it goes on. So a belief begins in the history not before it began, and ends there not after it ended, and what overlaps in the
history has overlapped.

A line of a worker is one of these; the answer stands behind the arrow:

    hello WORKER LOCK
    begin                     -> go, or end: the run is over
    held TOKEN                -> the versions of the unfenced and the fenced resource; a token of - is none
    write VERSION VERSION     -> what became of both: accepted, refused, or - where nothing was written
    told WHY, releasing, released, failed WHY, ended CODE   -> ok
"""

import json
import os
import selectors
import socket
import struct
import threading
import time


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Resource:
    """A counter that takes each write, and one that takes none with a token below the highest that it has seen."""

    def __init__(self):
        self.unfenced = 0
        self.fenced = 0
        self.fence = 0

    def read(self, token):
        if token is None:
            return self.unfenced, "-"
        # Who reads to write later shows its token: an earlier holder's write must not slip in between.
        self.fence = max(self.fence, token)
        return self.unfenced, self.fenced

    def write(self, token, unfenced, fenced):
        """What the unfenced counter was, what became of the fenced one, and what that was."""
        was, self.unfenced = self.unfenced, unfenced + 1
        if token is None:
            return was, "-", None
        if token < self.fence:
            return was, "refused", self.fenced
        self.fence = token
        before, self.fenced = self.fenced, fenced + 1
        return was, "accepted", before


class Connection:
    def __init__(self, sock):
        self.socket = sock
        self.rest = b""
        self.worker = self.lock = None
        self.grant = self.token = None
        self.pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


class Recorder(threading.Thread):
    def __init__(self, folder, history):
        super().__init__(daemon=True)
        self.path = f"{folder}/recorder.sock"
        self.history = open(history, "w", buffering=1 << 16)
        self.mutex = threading.RLock()
        self.resources = {}
        self.connections = set()
        self.grants = 0
        self.is_ending = False
        self.is_over = False
        self.served = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(256)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)

    def emit(self, event, **details):
        with self.mutex:
            at = now()
            self.history.write(json.dumps({"t": at, "e": event, **details}) + "\n")
            return at

    def holders(self, lock):
        """The pids of those who believe that they hold a lock, with worker and grant."""
        with self.mutex:
            return [(each.pid, each.worker, each.grant) for each in self.connections if each.grant and each.lock == lock]

    def run(self):
        while not self.is_over:
            for key, _ in self.selector.select(timeout=0.2):
                with self.mutex:
                    if key.fileobj is self.listener:
                        self.accept()
                    elif key.data in self.connections:
                        self.receive(key.data)

    def accept(self):
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        connection = Connection(sock)
        self.connections.add(connection)
        self.selector.register(sock, selectors.EVENT_READ, connection)

    def receive(self, connection):
        while True:
            try:
                part = connection.socket.recv(65_536)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            if not part:
                return self.leave(connection)
            *lines, connection.rest = (connection.rest + part).split(b"\n")
            for line in lines:
                answer = self.answer(connection, line.decode().split(" "))
                if answer is not None:
                    try:
                        connection.socket.send(answer.encode() + b"\n")
                    except OSError:
                        return self.leave(connection)

    def leave(self, connection):
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.selector.unregister(connection.socket)
        connection.socket.close()
        self.close(connection, "gone")

    def close(self, connection, event, **details):
        if connection.grant:
            self.emit(event, w=connection.worker, l=connection.lock, g=connection.grant, **details)
            connection.grant = None

    def answer(self, connection, words):
        kind, rest = words[0], words[1:]
        if kind == "hello":
            connection.worker, connection.lock = rest
            return None
        if kind == "begin":
            if self.is_ending:
                return "end"
            self.emit("began", w=connection.worker, l=connection.lock)
            return "go"
        if kind == "held":
            return self.held(connection, rest[0])
        if kind == "write":
            return self.write(connection, rest)
        if kind == "releasing":
            self.close(connection, "releasing")
        elif kind == "told" and connection.grant:
            # The worker goes on; it believes no more.
            self.emit("told", w=connection.worker, l=connection.lock, g=connection.grant, why=" ".join(rest))
        else:
            self.emit(kind, w=connection.worker, l=connection.lock, why=" ".join(rest))
        return "ok"

    def held(self, connection, token):
        # Whoever has ended or released before this one was granted the lock has said so by now: that is read first.
        for each in list(self.connections):
            if each is not connection and each.grant and each.lock == connection.lock:
                self.receive(each)
        self.grants += 1
        connection.grant = self.grants
        connection.token = None if token == "-" else int(token)
        at = self.emit(
            "held", w=connection.worker, l=connection.lock, g=connection.grant, token=connection.token, pid=connection.pid)
        self.served[connection.worker] = at
        resource = self.resources.setdefault(connection.lock, Resource())
        return " ".join(map(str, resource.read(connection.token)))

    def write(self, connection, versions):
        unfenced = int(versions[0])
        fenced = None if versions[1] == "-" else int(versions[1])
        resource = self.resources.setdefault(connection.lock, Resource())
        was, became, before = resource.write(connection.token, unfenced, fenced)
        self.emit(
            "write", w=connection.worker, l=connection.lock, g=connection.grant, read=unfenced, was=was, fenced=became,
            fenced_read=fenced, fenced_was=before, token=connection.token, fence=resource.fence)
        return f"accepted {became}"

    def finish(self):
        self.is_over = True
        self.join()
        self.history.close()
        self.listener.close()
        os.unlink(self.path)
