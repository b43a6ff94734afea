"""Workers that use pottery's Redlock: cycles for some seconds."""

import multiprocessing
import time

import redis
from pottery import Redlock


def work(ports, name, seconds, start, results):
    masters = {redis.Redis(port=port) for port in ports}
    for master in masters:
        master.ping()
    start.wait()
    cycles = 0
    begin = time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        lock = Redlock(key=name, masters=masters, auto_release_time=30)
        if lock.acquire(timeout=5):
            cycles += 1
            lock.release()
    results.put(cycles / (time.perf_counter() - begin))


def measure(ports, workers, seconds):
    """Cycles per second of all workers on one lock."""
    results = multiprocessing.Queue()
    start = multiprocessing.Barrier(workers)
    processes = [
        multiprocessing.Process(target=work, args=(ports, f"peers-{workers}", seconds, start, results))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    rates = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)
