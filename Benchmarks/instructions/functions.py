"""Counts the functions of this package that every cycle on one Redis passes through, in a debug build.

    PYTHONPATH=../peers/redis /usr/bin/python3 functions.py [--list] DEBUG-DLOCK

A function counts once, however often it is called, and a closure as the function that it stands in. What is called in every
cycle is what two runs that differ in their number of cycles alone call more often. `--list` names them.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

from server import Server

HERE = os.path.dirname(os.path.abspath(__file__))
FEW, MANY = 16, 80
MODULES = ("DistributedLocks", "LockKernel", "LockTransport", "RedisLocks",
           # What these were before.
           "Moments", "RESP", "RedisClient", "Transport")


def calls(dlock, environment, url, cycles, folder):
    """Symbol -> how often it was called."""
    out = f"{folder}/out.{cycles}"
    subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--fair-sched=yes", "--compress-strings=no",
         "--separate-threads=no", dlock, "bench-cycles", "--backend", url, "--workload", "seq", "--cycles", str(cycles),
         "--on-backend-threads"],
        check=True, env=environment, capture_output=True, timeout=600)
    count, called = collections.Counter(), None
    with open(out) as file:
        for line in file:
            if line.startswith("cfn="):
                called = line[4:].strip()
            elif line.startswith("calls=") and called:
                count[re.sub(r"'\d+$", "", called)] += int(line[6:].split()[0])
    return count


def source_functions(symbols):
    """The functions of our own that symbols belong to."""
    text = subprocess.run(["swift", "demangle", "--compact"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    found = set()
    for name in text.stdout.splitlines():
        name = re.sub(r"^(\(\d+\) (await|suspend) resume partial function for )", "", name)
        if re.match(r"(outlined|type metadata|lazy protocol|value witness|protocol witness|reabstraction|generic specialization"
                    r"|merged|metaclass|default argument|associated type|base witness|dispatch thunk|key path|variable init"
                    r"|@objc|__swift|initialization expression|deallocating|lazy)", name):
            continue
        # "closure #1 () -> () in A.b()" is a part of A.b().
        while " in " in name and re.match(r"(closure|implicit closure|partial apply|defer|autoclosure|one-time)", name):
            name = name.split(" in ", 1)[1]
        name = re.sub(r"^(partial apply( forwarder)? for |static |async function pointer to )+", "", name)
        if re.match(r"\(?(extension in )?(%s)[.:)]" % "|".join(MODULES), name):
            found.add(name)
    return found


def main(dlock, lists):
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", f"{folder}/sigsuspend.so", f"{HERE}/sigsuspend.c"], check=True)
        subprocess.run(["strip", "--strip-debug", "-o", f"{folder}/dlock", dlock], check=True)
        environment = {**os.environ, "LD_PRELOAD": f"{folder}/sigsuspend.so"}
        few, many = (calls(f"{folder}/dlock", environment, server.url, cycles, folder) for cycles in (FEW, MANY))
    each_cycle = [symbol for symbol in many if many[symbol] - few[symbol] >= (MANY - FEW) * 9 // 10]
    functions = source_functions(each_cycle)
    if lists:
        print("\n".join(sorted(functions)))
    print(f"{len(functions)} functions of our own in every cycle on one Redis")


main(sys.argv[-1], "--list" in sys.argv)
