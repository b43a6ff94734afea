"""Measures redsync, the lock of most Go services, if it is there.

Go's packages come from a folder that REDSYNC_GOPATH names, with redsync v4 in src/github.com/go-redsync/redsync/v4. The
README of Benchmarks says where the rest comes from, and which Go to take.
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).parent.parent / "redsync" / "main.go"


class Redsync:
    def __init__(self, folder):
        self.program = f"{folder}/redsync"
        environment = dict(os.environ, GO111MODULE="off", GOCACHE=f"{folder}/cache")
        environment["GOPATH"] = os.environ["REDSYNC_GOPATH"] + ":/usr/share/gocode"
        subprocess.run(["go", "build", "-o", self.program, str(SOURCE)], check=True, env=environment)

    def measure(self, ports, seconds, workers, locks, retry=None):
        """retry: in milliseconds; None: its own."""
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        words = [self.program, addresses, str(workers), str(locks), str(seconds)]
        out = subprocess.run(words + ([str(retry)] if retry else []), check=True, capture_output=True).stdout
        return json.loads(out)


# What is measured: workers, locks, and the milliseconds between two tries. By itself redsync sleeps 50 to 250 ms; meanwhile the
# worker that has just released the lock takes it again.
WORKLOADS = {
    "seq": (1, 1), "wide-64": (64, 64), "hot-16": (16, 1), "hot-16, tries each ms": (16, 1, 1),
}


def report(rounds, ours):
    """ours: by workload, the cycles a second of each round."""
    for workload in WORKLOADS:
        theirs = [each["redsync", workload] for each in rounds if ("redsync", workload) in each]
        if not theirs:
            continue
        p50, p99 = (statistics.median(each[name] for each in theirs) for name in ("p50Milliseconds", "p99Milliseconds"))
        mine = ours[workload.split(",")[0]]
        ratio = statistics.median(left / right["cyclesPerSecond"] for left, right in zip(mine, theirs))
        cycles = statistics.median(each["cyclesPerSecond"] for each in theirs)
        print(f"redsync here, {workload}: {cycles:,.0f} a second, p50 {p50:.2f} ms, p99 {p99:.1f} ms; dlock {ratio:.2f} x")


def available(stack):
    """The program, built in a folder that goes with the stack; None if nothing says where redsync is."""
    if "REDSYNC_GOPATH" not in os.environ:
        return None
    return Redsync(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlock-redsync-")))
