"""Counts the functions of this package that every cycle on one Redis passes through, in a debug build.

    PYTHONPATH=../peers/redis /usr/bin/python3 functions.py [--list] DEBUG-DLOCK

A function counts once, however often it is called, and a closure as the function that it stands in; what the compiler has made
(the initialisers of structs, the ends of objects) is none. What is called in every cycle is what two runs that differ in their
number of cycles alone call more often. `--list` names them, with their files. DEBUG-DLOCK stands in the build folder of the
checkout that it was built from.
"""

import collections
import os
import pathlib
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


def places(dlock, symbols):
    """Symbol -> file and line of its source, without what has none."""
    addresses = {}
    for line in subprocess.run(["nm", dlock], capture_output=True, text=True, check=True).stdout.splitlines():
        address, symbol = line.split()[0], line.split()[-1]
        if symbol in symbols:
            addresses[symbol] = address
    names = sorted(addresses)
    text = subprocess.run(["addr2line", "-e", dlock], input="\n".join("0x" + addresses[name] for name in names),
                          capture_output=True, text=True, check=True)
    found = {}
    for name, place in zip(names, text.stdout.splitlines()):
        file, _, line = place.partition(" ")[0].rpartition(":")
        if "/Sources/" in file and "/checkouts/" not in file and line.isdigit():
            found[name] = ("Sources/" + file.split("/Sources/", 1)[1], int(line))
    return found


def source_functions(dlock, symbols):
    """The functions of our own that symbols belong to -> their files."""
    root = pathlib.Path(dlock).resolve()
    while not (root / "Package.swift").exists():
        root = root.parent
    lines = {}
    found = {}
    for symbol, (file, line) in places(dlock, symbols).items():
        if file not in lines:
            lines[file] = (root / file).read_text().splitlines()
        # An end that nobody wrote stands at its type.
        if not re.match(r"\s*(@\w+ )*((public|package|private|fileprivate|final|indirect) )*(class|struct|enum|actor) ", lines[file][line - 1]):
            found[symbol] = file
    names = sorted(found)
    text = subprocess.run(["swift", "demangle", "--compact"], input="\n".join(names), capture_output=True, text=True, check=True)
    functions = {}
    for symbol, name in zip(names, text.stdout.splitlines()):
        name = re.sub(r"^(\(\d+\) (await|suspend) resume partial function for )", "", name)
        # "closure #1 () -> () in A.b()" is a part of A.b().
        while " in " in name and re.match(r"(closure|implicit closure|partial apply|defer|autoclosure|one-time)", name):
            name = name.split(" in ", 1)[1]
        name = re.sub(r"^(partial apply( forwarder)? for |static |async function pointer to |protocol witness for )+", "", name)
        name = re.sub(r"\.__allocating_init", ".init", name)
        if re.match(r"\(?(extension in )?(%s)[.:)]" % "|".join(MODULES), name) and "Addressor" not in name:
            functions[name] = found[symbol]
    return functions


def main(dlock, lists):
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", f"{folder}/sigsuspend.so", f"{HERE}/sigsuspend.c"], check=True)
        subprocess.run(["strip", "--strip-debug", "-o", f"{folder}/dlock", dlock], check=True)
        environment = {**os.environ, "LD_PRELOAD": f"{folder}/sigsuspend.so"}
        few, many = (calls(f"{folder}/dlock", environment, server.url, cycles, folder) for cycles in (FEW, MANY))
    each_cycle = [symbol for symbol in many if many[symbol] - few[symbol] >= (MANY - FEW) * 9 // 10]
    functions = source_functions(dlock, set(each_cycle))
    if lists:
        print("\n".join(sorted(f"{file}\t{name}" for name, file in functions.items())))
    print(f"{len(functions)} functions of our own in {len(set(functions.values()))} files in every cycle on one Redis")


main(sys.argv[-1], "--list" in sys.argv)
