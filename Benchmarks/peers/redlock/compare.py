"""Takes all measurements in turns and prints one row for each goal."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import pottery_locks
import raw
import redsync
from server import Server

ROUNDS = int(os.environ.get("ROUNDS", 5))
SECONDS = float(os.environ.get("SECONDS_PER_ROUND", 1))
COUNT = 5
# redsync (workers that are goroutines) on five instances, where redis-benchmark -c 64 ran 84,000 EVALSHA a second; and how many times that is the goal.
REDSYNC = {"seq": (3_350, 1.3), "wide-64": (6_600, 2.5), "hot-16": (440, 4)}
REDSYNC_EVALSHA = 84_000


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def bench(dlock, url, workload, *options):
    out = subprocess.run(
        [dlock, "bench", "--backend", url, "--workload", workload, "--rounds", "1", "--seconds", str(SECONDS), "--json",
         *options],
        check=True, capture_output=True,
    ).stdout
    return json.loads(out)["results"][0]


def calls(servers):
    total = 0
    for server in servers:
        stats = server.client.info("commandstats")
        total += sum(stats.get(name, {}).get("calls", 0) for name in ("cmdstat_evalsha", "cmdstat_eval"))
    return total


def main(dlock):
    rounds = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server()) for _ in range(COUNT)]
        ports = [server.port for server in servers]
        url = "redlock://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        subprocess.run([dlock, "init", "--backend", url], check=True, stdout=subprocess.DEVNULL)
        loaded = raw.scripts(dlock)
        go = redsync.available(stack)
        with Server() as alone:
            for script in loaded.values():
                assert alone.client.script_load(script["text"]) == script["sha1"]
            # Tokens of a new installation are ahead of the clock for as long as clocks may differ.
            time.sleep(11)
            for number in range(1, ROUNDS + 1):
                each = {}
                say(f"round {number} of {ROUNDS}: redis-benchmark")
                each["raw"] = raw.measure(alone, loaded, ["-c", "64"], 50_000) * 2
                for workload, options in (
                    ("seq", ()), ("wide-64", ()), ("hot-16", ()), ("hot-16, 16 processes", ("--processes", "16")), ("crash", ()),
                ):
                    say(f"round {number} of {ROUNDS}: {workload}")
                    for server in servers:
                        server.client.config_resetstat()
                    each[workload] = bench(dlock, url, workload.split(",")[0], *options)
                    each["calls " + workload] = calls(servers)
                for hung in (1, 2):
                    say(f"round {number} of {ROUNDS}: seq, {hung} hung")
                    for server in servers[:hung]:
                        os.kill(server.process.pid, signal.SIGSTOP)
                    try:
                        each[hung, "hung"] = bench(dlock, url, "seq")
                    finally:
                        for server in servers[:hung]:
                            os.kill(server.process.pid, signal.SIGCONT)
                for workers in (1, 16):
                    say(f"round {number} of {ROUNDS}: pottery, {workers}")
                    each["pottery", workers] = pottery_locks.measure(ports, workers, SECONDS)
                for workload, words in redsync.WORKLOADS.items() if go else ():
                    say(f"round {number} of {ROUNDS}: redsync, {workload}")
                    each["redsync", workload] = go.measure(ports, SECONDS, *words)
                rounds.append(each)
    say("")
    report(rounds)


def median(values):
    return statistics.median(list(values))


def report(rounds):
    raws = [each["raw"] for each in rounds]
    scale = [value / REDSYNC_EVALSHA for value in raws]
    print(f"redis-benchmark -c 64: {median(raws):,.0f} EVALSHA a second, {median(scale):.2f} of redsync's machine\n")
    rows = [("WORKLOAD", "DLOCK", "P50", "P99", "REDSYNC, SCALED", "RATIO", "GOAL", "RESULT", "POTTERY", "RATIO")]
    for workload in ("seq", "wide-64", "hot-16", "hot-16, 16 processes"):
        figure, goal = REDSYNC[workload.split(",")[0]]
        ours = [each[workload]["cyclesPerSecond"]["median"] for each in rounds]
        ratio = median(value / (figure * factor) for value, factor in zip(ours, scale))
        key = "waitMicroseconds" if workload.startswith("hot") else "cycleMicroseconds"
        p50, p99 = (median(each[workload][key][name] for each in rounds) / 1e3 for name in ("p50", "p99"))
        theirs = {"seq": 1, "hot-16, 16 processes": 16}.get(workload)
        pottery = [each["pottery", theirs] for each in rounds] if theirs else None
        rows.append((
            workload, f"{median(ours):,.0f}", f"{p50:.2f} ms", f"{p99:.2f} ms", f"{figure * median(scale):,.0f}",
            f"{ratio:.2f}", f">= {goal}", "ok" if ratio >= goal else "MISSED",
            f"{median(pottery):,.0f}" if pottery else "", f"{median(ours) / median(pottery):.1f}" if pottery else "",
        ))
    widths = [max(len(each[column]) for each in rows) for column in range(len(rows[0]))]
    for each in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(each, widths)).rstrip())
    print()
    redsync.report(rounds, {workload: [each[workload]["cyclesPerSecond"]["median"] for each in rounds] for workload in REDSYNC})
    for workload in ("hot-16", "hot-16, 16 processes"):
        p99 = median(each[workload]["waitMicroseconds"]["p99"] for each in rounds) / 1e3
        print(f"{workload}, wait p99 (<= 50 ms): {p99:.1f} ms  {'ok' if p99 <= 50 else 'MISSED'}")
    for hung in (1, 2):
        ratio = median(
            each[hung, "hung"]["cycleMicroseconds"]["p50"] / each["seq"]["cycleMicroseconds"]["p50"] for each in rounds
        )
        print(f"seq with {hung} of 5 hung, p50 (<= 1.5 x): {ratio:.2f} x  {'ok' if ratio <= 1.5 else 'MISSED'}")
    for workload in REDSYNC:
        each = median(
            one["calls " + workload] / sum(each.get("cycles", 0) for each in one[workload]["rounds"]) for one in rounds
        )
        print(f"  {workload}: {each:.1f} script calls a cycle on all instances together, start included")
    print(f"\nMedians of {len(rounds)} rounds that took turns.")


main(sys.argv[1])
