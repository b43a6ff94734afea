"""Processes of a run's own: started here, ended here by their ids."""

import os
import signal
import subprocess
import tempfile
import time


class Process:
    def __init__(self, command, log, environment=None):
        self.log = log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})},
                start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def kill(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait()

    def has_ended(self):
        return self.child.poll() is not None


def until(what, seconds, condition):
    """Waits for a condition; the time is a bound for hopeless cases."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError(what)


def folder(stem):
    return tempfile.mkdtemp(prefix=f"dlock-torture-{stem}-")
