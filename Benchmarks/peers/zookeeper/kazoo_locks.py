"""Takes and releases locks with kazoo's Lock: seq and hot-N, as `dlock bench` does them.

    python3 kazoo_locks.py HOSTS SECONDS WORKLOAD…

Prints a line for each workload: its name, cycles a second, and the wait's p50 and p99 in microseconds.
"""

import multiprocessing
import sys
import time

from kazoo.client import KazooClient


def work(hosts, path, start, end, results):
    client = KazooClient(hosts=hosts, timeout=10)
    client.start()
    lock = client.Lock(path)
    waits = []
    while time.monotonic() < start:
        time.sleep(0.001)
    while time.monotonic() < end:
        asked = time.monotonic()
        with lock:
            waits.append(time.monotonic() - asked)
    results.put(waits)
    client.stop()


def run(hosts, seconds, workload):
    workers = 1 if workload == "seq" else int(workload.split("-")[1])
    results = multiprocessing.Queue()
    start = time.monotonic() + 2
    path = f"/kazoo/{time.time_ns()}"
    processes = [
        multiprocessing.Process(target=work, args=(hosts, path, start, start + seconds, results))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    waits = sorted(wait for _ in processes for wait in results.get())
    for process in processes:
        process.join()
    p50, p99 = (int(waits[int(len(waits) * part)] * 1e6) for part in (0.5, 0.99))
    print(workload, f"{len(waits) / seconds:.1f}", p50, p99, flush=True)


if __name__ == "__main__":
    for name in sys.argv[3:]:
        run(sys.argv[1], float(sys.argv[2]), name)
