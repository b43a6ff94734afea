"""Finds, stops and ends workers. Only what descends from a process that this run has started is ever signalled."""

import os
import signal
import time


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "-"


def chain(pid, ancestor):
    """From a process up to an ancestor, without it; nothing if it does not descend from it."""
    found = []
    while pid > 1 and pid != ancestor:
        found.append(pid)
        pid = parent(pid)
    return found if pid == ancestor else []


def descendants(ancestor):
    parents = {int(name): parent(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found, last = [], [ancestor]
    while last:
        last = [pid for pid, of in parents.items() if of in last]
        found += last
    return found


class Handle:
    """A process that cannot be mistaken for a later one with its number."""

    def __init__(self, pid, ancestor):
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)
        if pid != ancestor and not chain(pid, ancestor):
            os.close(self.descriptor)
            raise ProcessLookupError(pid)

    def signal(self, number):
        try:
            signal.pidfd_send_signal(self.descriptor, number)
            return True
        except ProcessLookupError:
            return False

    def stops(self):
        if not self.signal(signal.SIGSTOP):
            return False
        for _ in range(200):
            if state(self.pid) == "T":
                return True
            if state(self.pid) in "-ZX":
                return False
            time.sleep(0.001)
        return False

    def close(self):
        os.close(self.descriptor)


def handles(pids, ancestor):
    """Of all of them, or none."""
    found = []
    try:
        for pid in pids:
            found.append(Handle(pid, ancestor))
        return found
    except (ProcessLookupError, OSError):
        for each in found:
            each.close()
        return []


def end(pid):
    """A process of ours and all that descends from it, the youngest first."""
    for each in handles([*reversed(descendants(pid)), pid], pid):
        each.signal(signal.SIGKILL)
        each.signal(signal.SIGCONT)
        each.close()
