"""Branches of the shipped machines that runs of the simulator have reached, from what llvm-cov has exported.

    transitions.py check|update|faults EXPORT.json…

Called by scripts/transitions.sh.
"""

import collections
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIST = f"{HERE}/Unreached.tsv"
# A machine is a file that is named for it, and the parts of Redlock's and ZooKeeper's.
MACHINES = re.compile(r"/Sources/(DistributedLocks|RedisLocks|ZooKeeperLocks|EmbeddedLocks)/"
                      r"(.*Machine[^/]*|.*/(Machine|Recipe|Rules)/[^/]*)\.swift$")


def branches(path):
    """File -> {(line, column): count} of all branches of the machines."""
    with open(path) as file:
        export = json.load(file)
    found = collections.defaultdict(dict)
    for function in export["data"][0]["functions"]:
        name = function["filenames"][0]
        if not MACHINES.search(name):
            continue
        file = "Sources/" + name.split("/Sources/", 1)[1]
        for line, column, _, _, count, _, _, kind in function["regions"]:
            if kind == 0:
                place = (line, column)
                found[file][place] = max(found[file].get(place, 0), count)
    return found


def unreached(found):
    """(file, text of the line) of what was not reached; of what stands inside such a branch only the outermost is told by its line."""
    result = collections.OrderedDict()
    for file in sorted(found):
        with open(f"{ROOT}/{file}") as source:
            lines = source.read().splitlines()
        for (line, _), count in sorted(found[file].items()):
            if count == 0:
                text = lines[line - 1].strip()
                # A trap is there to be never reached.
                if not re.search(r"preconditionFailure|fatalError", text + (lines[line].strip() if line < len(lines) else "")):
                    result.setdefault((file, text), line)
    return result


def known():
    if not os.path.exists(LIST):
        return {}
    with open(LIST) as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    return {(row[0], row[1]): row[2] for row in rows}


def check(found, updates):
    missing, listed = unreached(found), known()
    total = sum(len(places) for places in found.values())
    if updates:
        with open(LIST, "w") as file:
            file.write("# Branches of the machines that no run of the simulator reaches: file, line of the source, why. See scripts/transitions.sh.\n")
            for (name, text) in missing:
                file.write(f"{name}\t{text}\t{listed.get((name, text), '?')}\n")
    new = [key for key in missing if key not in listed]
    gone = [key for key in listed if key not in missing]
    for (file, text) in new:
        print(f"not reached: {file}:{missing[file, text]}: {text}")
    for (file, text) in gone:
        print(f"reached, and in the list: {file}: {text}")
    without = [key for key, reason in listed.items() if reason == "?"]
    print(f"{total} branches of {len(found)} files of machines, {len(missing)} lines not reached, {len(listed)} of them known, {len(without)} without a reason")
    # What is reached now and then is no fault; it is told, and taken out of the list by hand.
    return 1 if new and not updates else 0


def faults(paths):
    rows, files = {}, set()
    for path in paths:
        found = branches(path)
        rows[os.path.basename(path)[:-5]] = {file: sum(1 for count in places.values() if count) for file, places in found.items()}
        files |= set(found)
    names = sorted(rows)
    print("| machine | " + " | ".join(name.replace("-", " ") for name in names) + " |")
    print("|---|" + "---:|" * len(names))
    for file in sorted(files):
        print(f"| `{os.path.basename(file)[:-6]}` | " + " | ".join(str(rows[name].get(file, 0)) for name in names) + " |")
    return 0


mode, paths = sys.argv[1], sys.argv[2:]
sys.exit(faults(paths) if mode == "faults" else check(branches(paths[0]), mode == "update"))
