"""Makes the tables of docs/torture-results.md from results.jsonl in the folders that are named.

    python3 table.py FOLDER…
"""

import json
import sys
from collections import defaultdict

SUMS = ("faults", "grants", "M", "R", "refused", "RF", "F", "L", "O")
BACKENDS = ("redis", "sentinel", "redlock", "zookeeper", "embedded")
LIBRARIES = ("dlock", "redis-py", "python-redis-lock", "pottery", "kazoo", "curator")
KINDS = {
    "stop": "holder stopped past its lease", "kill": "holder killed (kill -9)", "half-open": "connections half-open",
    "killed-always": "server killed, keeps all (`appendfsync always`)", "killed-everysec": "server killed, `everysec`",
    "killed-snapshot": "server killed, snapshots", "killed-follower": "follower killed", "restart-empty": "server restarted empty",
    "failover": "failover", "cut-off": "follower cut off with its clients", "clock": "server's clock stepped",
    "misconf": "server refuses to write (MISCONF)",
}


def rows(folders):
    for folder in folders:
        with open(f"{folder}/results.jsonl") as file:
            for line in file:
                yield json.loads(line)


def total(some):
    found = dict.fromkeys(SUMS, 0)
    found["longest_ms"] = 0
    for row in some:
        for key in SUMS:
            found[key] += row[key]
        found["longest_ms"] = max(found["longest_ms"], row.get("longest_ms", 0))
    return found


def number(value):
    return f"{value:,}" if value else "0"


def cells(sums, library):
    longest = f" ({sums['longest_ms']:,} ms)" if sums["M"] else ""
    has_tokens = library == "dlock"
    return [
        number(sums["faults"]), number(sums["grants"]), number(sums["M"]) + longest, number(sums["R"]),
        *([number(sums["refused"]), number(sums["RF"]), number(sums["F"])] if has_tokens else ["–", "–", "–"]),
        number(sums["L"]), number(sums["O"]),
    ]


def line(words):
    return "| " + " | ".join(words) + " |"


HEAD = ["faults", "grants", "M (longest)", "R", "refused by the fence", "R at the fence", "F", "L", "O"]


def main(folders):
    every = list(rows(folders))
    libraries = [name for name in LIBRARIES if any(row["library"] == name for row in every)]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in every)]

    print("### Each library\n")
    print(line(["library", *HEAD]))
    print("|---" * (len(HEAD) + 1) + "|")
    for library in libraries:
        print(line([library, *cells(total(row for row in every if row["library"] == library), library)]))

    print("\n### Faults of each kind\n")
    print(line(["fault", *libraries]))
    print("|---" * (len(libraries) + 1) + "|")
    injected = defaultdict(int)
    for row in every:
        injected[row["kind"], row["library"]] += row["faults"]
    for kind in kinds:
        print(line([KINDS[kind], *(number(injected[kind, library]) if injected[kind, library] else "" for library in libraries)]))

    for backend in BACKENDS:
        here = [row for row in every if row["backend"] == backend]
        if not here:
            continue
        print(f"\n### {backend}\n")
        print(line(["fault", "library", *HEAD]))
        print("|---" * (len(HEAD) + 2) + "|")
        for kind in kinds:
            for library in libraries:
                some = [row for row in here if row["kind"] == kind and row["library"] == library]
                if some:
                    print(line([KINDS[kind], library, *cells(total(some), library)]))


if __name__ == "__main__":
    main(sys.argv[1:])
