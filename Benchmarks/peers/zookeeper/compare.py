"""Takes all measurements in turns and prints one row for each goal."""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from machine import CURATOR_JARS, SERVER_JARS, class_path
from servers import Servers

ROUNDS = int(os.environ.get("ROUNDS", 5))
SECONDS = float(os.environ.get("SECONDS_PER_ROUND", 2))
WORKLOADS = ("seq", "wide-64", "hot-16")
GOALS = {"seq": 1.3, "wide-64": 2, "hot-16": 2}


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def ours(dlock, servers, workload):
    before = servers.requests()
    out = subprocess.run(
        [dlock, "bench", "--backend", f"zookeeper://{servers.hosts}/bench", "--workload", workload, "--rounds", "1",
         "--seconds", str(SECONDS), "--json"],
        check=True, capture_output=True,
    ).stdout
    result = json.loads(out)["results"][0]
    cycles = sum(each.get("cycles", 0) for each in result["rounds"])
    wait = result.get("waitMicroseconds") or result.get("cycleMicroseconds") or {}
    return {
        "rate": result["cyclesPerSecond"]["median"],
        "p50": wait.get("p50", 0), "p99": wait.get("p99", 0),
        "requests": (servers.requests() - before) / max(cycles, 1),
    }


def lines(command):
    results = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        name, rate, p50, p99 = line.split()
        # The last line of a name counts: the first is the warm-up.
        results[name] = {"rate": float(rate), "p50": int(p50), "p99": int(p99)}
    return results


def curator(folder, servers):
    return lines(
        ["java", "-Xmx512m", "-cp", class_path(SERVER_JARS + CURATOR_JARS) + ":" + folder, "CuratorLocks",
         servers.hosts, "2", str(SECONDS), *WORKLOADS]
    )


def kazoo(servers):
    here = os.path.dirname(os.path.abspath(__file__))
    return lines([sys.executable, f"{here}/kazoo_locks.py", servers.hosts, str(SECONDS), "seq", "hot-16"])


def median(values):
    return statistics.median(list(values))


def main(dlock):
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["javac", "-cp", class_path(SERVER_JARS + CURATOR_JARS), "-d", folder, f"{here}/CuratorLocks.java"],
            check=True,
        )
        for count in (1, 3):
            rounds = []
            with Servers(count) as servers:
                # The servers' just-in-time compiler would otherwise be at work for whoever comes first.
                say(f"{count} server(s), warm-up")
                for _ in range(2):
                    ours(dlock, servers, "hot-16")
                    curator(folder, servers)
                for number in range(1, ROUNDS + 1):
                    say(f"{count} server(s), round {number} of {ROUNDS}")
                    each = {"dlock": {workload: ours(dlock, servers, workload) for workload in WORKLOADS}}
                    each["curator"] = curator(folder, servers)
                    each["kazoo"] = kazoo(servers)
                    rounds.append(each)
            say("")
            report(count, rounds)


def report(count, rounds):
    print(f"{count} server(s), cycles a second (wait p50 / p99 ms):")
    for workload in WORKLOADS:
        def shown(name):
            some = [each[name][workload] for each in rounds if workload in each[name]]
            if not some:
                return "–"
            rate, p50, p99 = (median(one[key] for one in some) for key in ("rate", "p50", "p99"))
            return f"{rate:,.0f} ({p50 / 1e3:.1f} / {p99 / 1e3:.1f})"

        ratio = median(each["dlock"][workload]["rate"] / each["curator"][workload]["rate"] for each in rounds)
        requests = median(each["dlock"][workload]["requests"] for each in rounds)
        result = "ok" if ratio >= GOALS[workload] else "MISSED"
        print(f"  {workload:8} dlock {shown('dlock')}  Curator {shown('curator')}  kazoo {shown('kazoo')}  "
              f"ratio to Curator {ratio:.2f}, goal {GOALS[workload]}: {result}; {requests:.1f} requests a cycle")
    print(f"  Medians of {len(rounds)} rounds that took turns.\n", flush=True)


main(sys.argv[1])
