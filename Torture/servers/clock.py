"""A wall clock that can be stepped under a process: the preloaded library of Tests/TestKit/ClockShim.swift."""

import pathlib
import struct
import subprocess

SHIM = pathlib.Path(__file__).parents[2] / "Tests/TestKit/ClockShim.swift"


class Clock:
    def __init__(self, folder):
        text = SHIM.read_text().split('source = """', 1)[1].split('"""', 1)[0]
        source, self.library = pathlib.Path(folder, "clock.c"), f"{folder}/clock.so"
        source.write_text(text)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, str(source)], check=True)
        self.folder = folder

    def steps(self, name):
        return Steps(self.library, f"{self.folder}/{name}.step")


class Steps:
    """The clock of one server."""

    def __init__(self, library, file):
        self.file = file
        self.set(0, "wb")
        self.environment = {"LD_PRELOAD": library, "DLOCK_CLOCK_STEP": file}

    def set(self, seconds, mode="r+b"):
        # In one write, over what is there: the server has the file mapped.
        with open(self.file, mode, buffering=0) as file:
            file.write(struct.pack("q", int(seconds * 1e6)))
