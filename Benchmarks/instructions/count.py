"""Counts instructions a cycle with callgrind, and compares them with thresholds.tsv.

    python3 count.py [--update] DLOCK

What a program does before its first cycle and after its last one is in every count. Two runs that differ in their number of
cycles alone have it in common, so that the difference belongs to the cycles.
"""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from server import Server
from servers import Servers

HERE = os.path.dirname(os.path.abspath(__file__))
THRESHOLDS = f"{HERE}/thresholds.tsv"
TOLERANCE = 0.05
FEW, MANY = 640, 6_400
# Threads take turns in another order each time, and so batches differ a little: the median counts.
ROUNDS = int(os.environ.get("ROUNDS", 3))


def prepare(dlock, folder):
    """What valgrind can run: see sigsuspend.c; and it cannot read all that Swift writes about the source."""
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", f"{folder}/sigsuspend.so", f"{HERE}/sigsuspend.c"], check=True)
    subprocess.run(["strip", "--strip-debug", "-o", f"{folder}/dlock", dlock], check=True)
    return f"{folder}/dlock", {**os.environ, "LD_PRELOAD": f"{folder}/sigsuspend.so"}


def instructions(dlock, environment, backend, workload, cycles):
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", "--fair-sched=yes",
             dlock, "bench-cycles", "--backend", backend, "--workload", workload, "--cycles", str(cycles),
             "--on-backend-threads"],
            capture_output=True, text=True, env=environment, timeout=600,
        )
    if run.returncode != 0 or run.stdout.strip() != str(cycles):
        sys.exit(f"{workload} on {backend} failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    return int(re.search(r"Collected\s*:\s*(\d+)", run.stderr)[1])


def a_cycle(dlock, environment, backend, workload):
    few, many = (instructions(dlock, environment, backend, workload, cycles) for cycles in (FEW, MANY))
    return (many - few) / (MANY - FEW)


@contextlib.contextmanager
def backends(dlock):
    """Each of them with what is measured on it."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dlock-instructions."))
        one = stack.enter_context(Server())
        five = [stack.enter_context(Server()) for _ in range(5)]
        zookeeper = stack.enter_context(Servers(1))
        redlock = "redlock://" + ",".join(f"127.0.0.1:{server.port}" for server in five)
        subprocess.run([dlock, "init", "--backend", redlock], check=True, stdout=subprocess.DEVNULL)
        # Tokens of a new installation are ahead of the clock for as long as clocks may differ.
        time.sleep(11)
        yield [
            ("embedded", "seq", f"embedded://{folder}/locks.db"),
            ("redis", "wide-64", one.url),
            ("redlock", "wide-64", redlock),
            ("zookeeper", "wide-64", f"zookeeper://{zookeeper.hosts}/dlock"),
        ]


def read_thresholds():
    with open(THRESHOLDS) as file:
        rows = [line.split("\t") for line in file.read().splitlines() if line and not line.startswith("#")]
    return {(backend, workload): int(count) for backend, workload, count in rows}


def write_thresholds(counts):
    with open(THRESHOLDS, "w") as file:
        file.write("# Instructions a cycle of the client: backend, workload, count. Written by ../instructions.sh --update.\n")
        for (backend, workload), count in counts.items():
            file.write(f"{backend}\t{workload}\t{count:.0f}\n")


def main(dlock, update):
    counts = {}
    with backends(dlock) as measured, tempfile.TemporaryDirectory() as folder:
        runnable, environment = prepare(dlock, folder)
        for backend, workload, url in measured:
            each = [a_cycle(runnable, environment, url, workload) for _ in range(ROUNDS)]
            counts[backend, workload] = statistics.median(each)
            spread = (max(each) - min(each)) / statistics.median(each)
            print(f"{backend:10} {workload:8} {statistics.median(each):9,.0f} instructions a cycle, "
                  f"{spread:.1%} between {len(each)} counts", flush=True)
    if update:
        write_thresholds(counts)
        return 0
    thresholds = read_thresholds()
    if missing := set(counts) ^ set(thresholds):
        sys.exit(f"{THRESHOLDS} and what is counted differ in {sorted(missing)}")
    status = 0
    for key, count in counts.items():
        ratio = count / thresholds[key]
        verdict = "ok"
        if ratio > 1 + TOLERANCE:
            verdict, status = "TOO MANY", 1
        elif ratio < 1 - TOLERANCE:
            verdict = "fewer: --update keeps it so"
        print(f"{' '.join(key):20} {ratio:.3f} of {thresholds[key]:,}: {verdict}")
    return status


arguments = sys.argv[1:]
sys.exit(main(arguments[-1], "--update" in arguments))
