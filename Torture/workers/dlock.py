"""Takes a lock again and again with `dlock run`: each body is a process of its own."""

import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from session import Session

HERE = os.path.dirname(os.path.abspath(__file__))


def end(*_):
    if child and child.poll() is None:
        child.terminate()
    os._exit(0)


child = None
signal.signal(signal.SIGTERM, end)
session = Session()
environment = dict(os.environ)
if os.environ.get("TORTURE_CLOCK"):
    environment["LD_PRELOAD"] = os.environ["TORTURE_CLOCK"]
while session.goes_on():
    child = subprocess.Popen(
        [os.environ["TORTURE_DLOCK"], "run", "--backend", session.backend, "--lease", f"{session.lease * 1000:.0f}ms",
         session.lock, "--", "/usr/bin/python3", "-B", "-I", "-S", f"{HERE}/body.py"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    said = child.stderr.read()
    code = child.wait()
    session.ask("ended", code, said.decode(errors="replace")[-300:] if code else "")
    if code:
        time.sleep(random.uniform(0.03, 0.1))
