"""Arithmetic for embedded.sh: medians of the rounds, and one row for each goal."""

import json
import statistics
import sys

folder, rounds = sys.argv[1], range(1, int(sys.argv[2]) + 1)


def read(name):
    for number in rounds:
        with open(f"{folder}/{name}.{number}") as file:
            yield file.read()


def bench(name):
    return [json.loads(text)["results"][0] for text in read(name)]


def median(values):
    return statistics.median(list(values))


commits = [float(text) for text in read("commits")]
seq = [result["cyclesPerSecond"]["median"] for result in bench("seq")]
# Each round's ratio: what slows the machine slows both.
ratio = median(cycles / (raw / 2) for cycles, raw in zip(seq, commits))

hot = bench("hot")
handovers = median(result["cyclesPerSecond"]["median"] for result in hot)
p50 = median(result["waitMicroseconds"]["p50"] for result in hot)
p99 = median(result["waitMicroseconds"]["p99"] for result in hot)
spread = median(result["waitMicroseconds"]["p99"] / result["waitMicroseconds"]["p50"] for result in hot)

# Time and failures of dlock, then those of flock.
spawns = [[float(word) for word in text.split()] for text in read("spawn")]
run, flock = median(each[0] for each in spawns), median(each[2] for each in spawns)
slower = median(each[0] / each[2] for each in spawns)
failures = int(sum(each[1] + each[3] for each in spawns))

takeovers = [time for result in bench("crash") for each in result["rounds"] for time in each["takeoverMicroseconds"]]
idle = [result["idle"] for result in bench("idle")]
waiters = idle[0]["waiters"]
cpu = median(each["cpuSeconds"] / each["seconds"] * 100 for each in idle)
switches = median(each["contextSwitches"] / each["seconds"] for each in idle)
memory = [each["bytesPerWaiter"] for each in idle if each.get("bytesPerWaiter") is not None]
serving = median(each["servingSeconds"] for each in idle)

rows = [
    ("MEASUREMENT", "GOAL", "MEASURED", "RESULT"),
    ("SQLite WAL commits, synchronous=NORMAL", "", f"{median(commits):,.0f} a second", ""),
    ("seq", ">= 0.7 of half the commits", f"{median(seq):,.0f} a second, {ratio:.2f}", ratio >= 0.7),
    ("hot-16 in 16 processes", ">= 2,000 hand-overs a second", f"{handovers:,.0f} a second", handovers >= 2000),
    ("its wait", "p99 <= 3 x p50", f"{p50 / 1e3:.2f} ms, {p99 / 1e3:.2f} ms, {spread:.1f} x", spread <= 3),
    ("flock FILE true", "", f"{flock / 1e3:.2f} ms", ""),
    ("dlock run x -- true", "<= 10 x flock", f"{run / 1e3:.2f} ms, {slower:.1f} x", slower <= 10),
    ("commands that failed", "0", str(failures), failures == 0),
    (
        f"crash, {len(takeovers)} holders killed",
        "p50 <= 200 ms",
        f"p50 {median(takeovers) / 1e3:.1f} ms, max {max(takeovers) / 1e3:.1f} ms",
        median(takeovers) <= 200e3,
    ),
    (f"idle, {waiters:,} waiters", "", f"{cpu:.2f} % of a processor, {switches:,.0f} switches a second", ""),
    ("memory per waiter", "", f"{median(memory) / 1024:.1f} KiB" if memory else "unknown", ""),
    ("serving them all", "", f"{serving * 1e3:,.0f} ms", ""),
]
shown = [[{True: "ok", False: "MISSED"}.get(cell, cell) if isinstance(cell, bool) else cell for cell in row] for row in rows]
widths = [max(len(row[column]) for row in shown) for column in range(4)]
for row in shown:
    print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
print(f"\nMedians of {len(rounds)} rounds that took turns.")
