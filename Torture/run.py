"""One run: one backend, one kind of fault, some libraries beside each other on the same servers."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback

import processes
from checker import LATE_NANOSECONDS, check, read
from libraries import LIBRARIES, compile_curator
from recorder import Recorder
from worker_faults import OF_WORKERS
from worlds import WORLDS


class Run:
    def __init__(self, backend, kind, libraries, seconds, each, most_locks, dlock, keep, packages):
        self.backend, self.kind, self.seconds, self.each, self.most_locks = backend, kind, seconds, each, most_locks
        self.dlock, self.packages = dlock, packages
        self.libraries = [LIBRARIES[name] for name in libraries]
        self.history = f"{keep}/{backend}-{kind}-{os.getpid()}.jsonl"
        self.log = open(f"{keep}/{backend}-{kind}-{os.getpid()}.log", "w")
        self.processes, self.commands = {}, {}
        self.counts = dict.fromkeys(libraries, 0)
        self.is_over = threading.Event()
        self.mutex = threading.Lock()
        self.locks = {}
        self.world = self.recorder = None
        self.threads = []

    # MARK: Faults

    def fault(self, library=None, count=1, **details):
        with self.mutex:
            for name in [library] if library else self.counts:
                self.counts[name] += count
        self.recorder.emit("fault", kind=self.kind, library=library, count=count, **details)

    def is_enough(self, library):
        return self.is_over.is_set() or self.counts[library] >= self.each

    def hit_lock(self, library, lock):
        while not self.is_enough(library):
            OF_WORKERS[self.kind](self, library, lock)

    def hit_servers(self):
        while not all(self.is_enough(name) for name in self.counts):
            try:
                self.world.inject(self.fault)
            except Exception:
                traceback.print_exc()
            time.sleep(random.uniform(*self.world.gap))

    # MARK: Workers

    def start_workers(self):
        for library in self.libraries:
            count = min(library.locks, self.most_locks)
            for index in range(count * library.workers):
                lock = f"{library.name}.{index % count}"
                self.locks.setdefault(library.name, set()).add(lock)
                worker = f"{library.name}.w{index}"
                environment = {
                    **os.environ, "TORTURE_SOCKET": self.recorder.path, "TORTURE_WORKER": worker, "TORTURE_LOCK": lock,
                    "TORTURE_BACKEND": self.world.address(library.name, index // count),
                    "TORTURE_LEASE": str(self.world.lease), "TORTURE_DLOCK": self.dlock, "PYTHONPATH": self.packages,
                    "PYTHONDONTWRITEBYTECODE": "1", **self.world.environment(library.name),
                }
                self.commands[worker] = (self.world.prefix(index // count) + library.command(self.world), environment)
                self.recorder.emit(
                    "worker", w=worker, l=lock, library=library.name, lease=self.world.lease, renews=library.renews)
                self.start_worker(worker)

    def start_worker(self, worker):
        command, environment = self.commands[worker]
        self.processes[worker] = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)

    def look_after_workers(self):
        while not self.recorder.is_ending:
            for worker, process in list(self.processes.items()):
                if process.poll() is not None and not self.recorder.is_ending:
                    self.start_worker(worker)
            time.sleep(0.05)

    def wait_until_served(self, since, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(self.recorder.served.get(worker, 0) > since for worker in self.commands):
                return True
            time.sleep(0.05)
        return False

    def end_workers(self):
        self.recorder.is_ending = True
        end = time.monotonic() + self.world.lease * 2 + 5
        while time.monotonic() < end and any(each.poll() is None for each in self.processes.values()):
            time.sleep(0.05)
        left = [worker for worker, each in self.processes.items() if each.poll() is None]
        for worker in left:
            self.recorder.emit("forced", w=worker)
            self.processes[worker].send_signal(signal.SIGTERM)
        time.sleep(1.5 if left else 0)
        self.kill_workers()

    def kill_workers(self):
        for process in self.processes.values():
            if process.poll() is None:
                processes.end(process.pid)
            process.wait()

    # MARK: The run

    def carry_out(self):
        names = [library.name for library in self.libraries]
        try:
            self.world = WORLDS[self.backend](self.kind, names, self.dlock)
            if "curator" in names:
                compile_curator(self.world.folder)
            self.recorder = Recorder(self.world.folder, self.history)
            self.recorder.start()
            self.world.note = self.recorder.emit
            self.recorder.emit("run", backend=self.backend, kind=self.kind)
            self.start_workers()
            self.start(self.look_after_workers)
            if not self.wait_until_served(0, 30):
                print(f"{self.backend} {self.kind}: not everybody was served at first", file=sys.stderr)
            self.hurt()
            self.recover()
        finally:
            self.is_over.set()
            if self.recorder:
                self.recorder.is_ending = True
            self.kill_workers()
            if self.recorder:
                self.recorder.finish()
            if self.world:
                self.world.remove()
            self.log.close()
        return check(read(self.history))

    def start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def hurt(self):
        if self.kind in OF_WORKERS:
            faults = [self.start(self.hit_lock, name, lock) for name, locks in self.locks.items() for lock in locks]
        else:
            faults = [self.start(self.hit_servers)]
        end = time.monotonic() + self.seconds
        for thread in faults:
            thread.join(max(0, end - time.monotonic()))
        self.is_over.set()
        for thread in faults:
            thread.join(90)

    def recover(self):
        self.world.heal()
        healed = self.recorder.emit("healed", workers=sorted(self.commands))
        self.wait_until_served(healed, self.world.lease + LATE_NANOSECONDS / 1e9)
        self.recorder.emit("settled")
        self.end_workers()
        time.sleep(self.world.lease + 1.5)
        for name, locks in self.locks.items():
            for what in self.world.leftovers(name, locks):
                self.recorder.emit("leftover", library=name, what=what)
