"""Faults of workers: stopped past their lease, killed. One thread for each lock, so that they come often."""

import random
import signal
import time

from processes import chain, handles


def victims(run, worker, pid):
    """The processes that can be hit, by what they are, and which worker process they descend from."""
    process = run.processes.get(worker)
    if process is None or process.poll() is not None:
        return None, {}
    if worker.split(".")[0] != "dlock":
        return process.pid, {"worker": pid} if pid == process.pid else {}
    above = chain(pid, process.pid)
    return process.pid, dict(zip(("body", "watchdog", "dlock"), above)) if len(above) == 3 else {}


def choose(run, lock):
    holders = run.recorder.holders(lock)
    if not holders:
        return None
    pid, worker, grant = random.choice(holders)
    ancestor, found = victims(run, worker, pid)
    return (worker, grant, ancestor, found) if found else None


def stop(run, library, lock):
    """The process alone that has the lock, or all that belongs to the holder, as when a machine is suspended."""
    chosen = choose(run, lock)
    if not chosen:
        return time.sleep(0.02)
    worker, grant, ancestor, found = chosen
    whole = "worker" in found or random.random() < 0.5
    names = [name for name in ("dlock", "watchdog", "body", "worker") if name in found] if whole else ["dlock"]
    targets = handles([found[name] for name in names], ancestor)
    try:
        if targets and all(each.stops() for each in targets):
            # Still the same holder: it could not have gone on.
            run.recorder.emit("stopped", w=worker, l=lock, g=grant, whole=whole)
            run.fault(library=library, w=worker, l=lock, g=grant, what=names)
            time.sleep(run.world.lease * random.uniform(1.2, 1.6))
            run.recorder.emit("continued", w=worker, l=lock, g=grant)
    finally:
        for each in reversed(targets):
            each.signal(signal.SIGCONT)
            each.close()
    time.sleep(random.uniform(0.1, 0.5))


def kill(run, library, lock):
    """kill -9 of the holder; of dlock: of itself, or of its watchdog."""
    chosen = choose(run, lock)
    if not chosen:
        return time.sleep(0.02)
    worker, grant, ancestor, found = chosen
    name = "worker" if "worker" in found else random.choice(("dlock", "dlock", "watchdog"))
    for each in handles([found[name]], ancestor):
        if each.signal(signal.SIGKILL):
            run.fault(library=library, w=worker, l=lock, g=grant, what=[name])
        each.close()
    time.sleep(random.uniform(0.1, 0.5))


OF_WORKERS = {"stop": stop, "kill": kill}
