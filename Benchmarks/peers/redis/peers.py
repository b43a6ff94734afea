"""Workers that use other libraries: cycles for some seconds, and how long each acquire took."""

import multiprocessing
import time

import redis
import redis_lock


def redis_py(client, name):
    lock = client.lock(name, timeout=30)
    lock.acquire()
    return lock.release


def python_redis_lock(client, name):
    lock = redis_lock.Lock(client, name, expire=30)
    lock.acquire()
    return lock.release


LIBRARIES = {"redis-py": redis_py, "python-redis-lock": python_redis_lock}


def work(library, port, name, seconds, start, results):
    client = redis.Redis(port=port)
    client.ping()
    take = LIBRARIES[library]
    start.wait()
    waits = []
    begin = time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        asked = time.perf_counter()
        release = take(client, name)
        waits.append(time.perf_counter() - asked)
        release()
    results.put((len(waits) / (time.perf_counter() - begin), waits))


def measure(library, port, workers, seconds):
    """Cycles per second of all workers on one lock, and the waits in order."""
    results = multiprocessing.Queue()
    start = multiprocessing.Barrier(workers)
    processes = [
        multiprocessing.Process(target=work, args=(library, port, "peers", seconds, start, results))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rate for rate, _ in outcomes), sorted(wait for _, waits in outcomes for wait in waits)
