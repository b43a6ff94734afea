"""Takes all measurements in turns and prints one row for each goal."""

import contextlib
import json
import os
import statistics
import subprocess
import sys

import peers
import raw
import redsync
from server import Server

ROUNDS = int(os.environ.get("ROUNDS", 5))
SECONDS = float(os.environ.get("SECONDS_PER_ROUND", 1))


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def bench(dlock, server, workload, *options):
    server.reset()
    out = subprocess.run(
        [dlock, "bench", "--backend", server.url, "--workload", workload, "--rounds", "1", "--seconds",
         str(SECONDS), "--json", *options],
        check=True, capture_output=True,
    ).stdout
    result = json.loads(out)["results"][0]
    calls, cpu = server.used()
    return result, calls, cpu


def cycles(result):
    return sum(each.get("cycles", 0) for each in result["rounds"])


def main(dlock):
    rounds = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server())
        go = redsync.available(stack)
        loaded = raw.scripts(dlock)
        for script in loaded.values():
            assert server.client.script_load(script["text"]) == script["sha1"]
        for number in range(1, ROUNDS + 1):
            each = {}
            for workload in ("seq", "wide-64", "wide-1000"):
                say(f"round {number} of {ROUNDS}: {workload}")
                each[workload] = bench(dlock, server, workload)
                options, count = (["-c", "1"], 10_000) if workload == "seq" else (["-c", "64", "-P", "16"], 200_000)
                each[workload + ", on its threads"] = bench(dlock, server, workload, "--on-backend-threads")
                each["raw " + workload] = raw.measure(server, loaded, options, count)
            say(f"round {number} of {ROUNDS}: hot-16")
            each["hot-16"] = bench(dlock, server, "hot-16")
            each["hot-16, 16 processes"] = bench(dlock, server, "hot-16", "--processes", "16")
            for library in peers.LIBRARIES:
                for workers in (1, 16):
                    say(f"round {number} of {ROUNDS}: {library}, {workers}")
                    server.client.flushall()
                    each[library, workers] = peers.measure(library, server.port, workers, SECONDS)
            for workload, words in redsync.WORKLOADS.items() if go else ():
                say(f"round {number} of {ROUNDS}: redsync, {workload}")
                each["redsync", workload] = go.measure([server.port], SECONDS, *words)
            say(f"round {number} of {ROUNDS}: idle")
            each["idle"] = bench(dlock, server, "idle")
            rounds.append(each)
    say("")
    report(rounds)


def median(values):
    return statistics.median(list(values))


def report(rounds):
    rows = [("WORKLOAD", "PEER", "DLOCK", "PEER'S", "RATIO", "GOAL", "RESULT")]

    def row(workload, peer, ours, theirs, goal):
        ratio = median(a / b for a, b in zip(ours, theirs))
        result = "" if goal is None else "ok" if ratio >= goal else "MISSED"
        shown = "" if goal is None else f">= {goal}"
        rows.append((workload, peer, f"{median(ours):,.0f}", f"{median(theirs):,.0f}", f"{ratio:.2f}", shown, result))

    for workload, goal in (("seq", 0.95), ("wide-64", 0.85), ("wide-1000", 0.9)):
        ours = [each[workload][0]["cyclesPerSecond"]["median"] for each in rounds]
        theirs = [each["raw " + workload] for each in rounds]
        row(workload, "own scripts, redis-benchmark", ours, theirs, goal)
        there = [each[workload + ", on its threads"][0]["cyclesPerSecond"]["median"] for each in rounds]
        row(workload + ", on the backend's threads", "own scripts, redis-benchmark", there, theirs, goal)
        if workload == "seq":
            for library in peers.LIBRARIES:
                row(workload, library, ours, [each[library, 1][0] for each in rounds], None)
    for library in peers.LIBRARIES:
        ours = [each["hot-16, 16 processes"][0]["cyclesPerSecond"]["median"] for each in rounds]
        row("hot-16, 16 processes", library, ours, [each[library, 16][0] for each in rounds], None)

    widths = [max(len(each[column]) for each in rows) for column in range(len(rows[0]))]
    for each in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(each, widths)).rstrip())

    def goal(text, value, is_met):
        print(f"{text}: {value}  {'ok' if is_met else 'MISSED'}")

    print()
    for workload in ("hot-16", "hot-16, 16 processes"):
        hot = [each[workload] for each in rounds]
        rate = median(each[0]["cyclesPerSecond"]["median"] for each in hot)
        goal(f"{workload}, hand-overs a second (>= 10,000)", f"{rate:,.0f}", rate >= 10_000)
        waits = [each[0]["waitMicroseconds"] for each in hot]
        p50, p99 = median(each["p50"] for each in waits), median(each["p99"] for each in waits)
        spread = median(each["p99"] / each["p50"] for each in waits)
        goal(f"{workload}, wait p99 (<= 3 x p50)", f"{p50 / 1e3:.2f} ms, {p99 / 1e3:.2f} ms, {spread:.1f} x", spread <= 3)
        commands = median(calls / cycles(result) for result, calls, _ in hot)
        goal(f"{workload}, script calls a cycle (<= 2)", f"{commands:.2f}", commands <= 2.05)
    for library in peers.LIBRARIES:
        every = [each[library, 16][1] for each in rounds]
        low, high = (median(waits[int(len(waits) * part)] for waits in every) * 1e3 for part in (0.5, 0.99))
        print(f"  {library}: wait p50 {low:.1f} ms, p99 {high:.1f} ms")
    for workload in ("seq", "wide-64", "wide-1000", "hot-16", "hot-16, 16 processes"):
        cpu = median(each[workload][2] / cycles(each[workload][0]) for each in rounds)
        print(f"  {workload}: {cpu * 1e6:.1f} us of the server's processor a cycle, start included")
    idle = [each["idle"] for each in rounds]
    # Asking and leaving are two calls; the rest is what waiting costs.
    per_waiter = median(
        (calls / result["idle"]["waiters"] - 2) / result["idle"]["seconds"] for result, calls, _ in idle
    )
    goal("idle, script calls a second and waiter (<= 0.6)", f"{per_waiter:.2f}", per_waiter <= 0.6)
    redsync.report(
        rounds, {name: [each[name][0]["cyclesPerSecond"]["median"] for each in rounds] for name in ("seq", "wide-64", "hot-16")}
    )
    print(f"\nMedians of {len(rounds)} rounds that took turns.")


main(sys.argv[1])
