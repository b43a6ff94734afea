"""Real faults on real servers, for several libraries side by side. See scripts/torture.sh."""

import argparse
import json
import os
import signal
import sys
import time

from libraries import LIBRARIES
from run import Run
from worlds import WORLDS

NOT_HERE = {"redsync": "redsync is neither in Debian 12 nor on PyPI: it is not run"}


def words():
    parser = argparse.ArgumentParser(prog="torture.sh", description=__doc__)
    parser.add_argument("--backend", required=True, choices=sorted(WORLDS))
    parser.add_argument("--library", default="dlock", help="one or more, with commas: " + ", ".join([*LIBRARIES, *NOT_HERE]))
    parser.add_argument("--faults", help="kinds of faults, with commas; all of the backend if nothing is said")
    parser.add_argument("--locks", type=int, default=3, help="so many locks of each library, with three workers each")
    parser.add_argument("--minutes", type=float, default=10, help="for all kinds together")
    parser.add_argument("--each", type=int, default=10**9, help="ends a kind when so many faults have hit each library")
    parser.add_argument("--keep", required=True, help="the folder for histories and results")
    parser.add_argument("--dlock", required=True, help="the path of a release dlock")
    parser.add_argument("--packages", required=True, help="the folder with the packages from PyPI")
    return parser, parser.parse_args()


def main():
    parser, chosen = words()
    world = WORLDS[chosen.backend]
    libraries = []
    for name in chosen.library.split(","):
        if name in NOT_HERE:
            print(NOT_HERE[name], file=sys.stderr)
        elif name not in LIBRARIES:
            parser.error(f"there is no library {name}")
        elif chosen.backend not in LIBRARIES[name].backends:
            parser.error(f"{name} has no locks on {chosen.backend}")
        else:
            libraries.append(name)
    kinds = chosen.faults.split(",") if chosen.faults else list(world.kinds)
    for kind in kinds:
        if kind not in world.kinds:
            parser.error(f"{chosen.backend} has these faults: {', '.join(world.kinds)}")
    if not libraries:
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    os.makedirs(chosen.keep, exist_ok=True)
    seconds = chosen.minutes * 60 / len(kinds)
    is_well = True
    for kind in kinds:
        began = time.time()
        run = Run(
            chosen.backend, kind, libraries, seconds, chosen.each, chosen.locks, os.path.abspath(chosen.dlock), chosen.keep,
            chosen.packages)
        checked = run.carry_out()
        with open(f"{chosen.keep}/results.jsonl", "a") as results:
            for library, counts in checked.result().items():
                row = {"backend": chosen.backend, "kind": kind, "library": library, **counts}
                row["history"] = os.path.basename(run.history)
                results.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
                if library == "dlock" and (counts["RF"] or counts["F"] or counts["L"] or counts["O"]):
                    is_well = False
        print(f"{chosen.backend} {kind}: {time.time() - began:.0f} s", file=sys.stderr)
    return 0 if is_well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
