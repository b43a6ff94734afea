"""How a worker of each library is started, and what it says of its leases."""

import pathlib
import subprocess

from machine import CURATOR_JARS, SERVER_JARS, class_path
from servers.zookeeper import SMALL_JAVA

WORKERS = pathlib.Path(__file__).parent / "workers"


class Library:
    def __init__(self, name, backends, renews, command, locks=3, workers=3):
        self.name, self.backends, self.renews = name, backends, renews
        self.command, self.locks, self.workers = command, locks, workers


def python(script):
    return lambda run: ["/usr/bin/python3", str(WORKERS / script)]


def curator(run):
    return [*SMALL_JAVA, "-cp", class_path(SERVER_JARS + CURATOR_JARS) + f":{run.folder}", "Curator"]


def compile_curator(folder):
    subprocess.run(["javac", "-cp", class_path(SERVER_JARS + CURATOR_JARS), "-d", folder, str(WORKERS / "Curator.java")], check=True)


# renews: whether the library renews a lease by itself as long as the holder works, and so states no end beforehand.
LIBRARIES = {
    each.name: each
    for each in [
        Library("dlock", {"redis", "redlock", "zookeeper", "sentinel", "embedded"}, True, python("dlock.py")),
        Library("redis-py", {"redis"}, False, python("redis_py.py")),
        Library("python-redis-lock", {"redis"}, True, python("python_redis_lock.py")),
        Library("pottery", {"redlock"}, False, python("pottery_lock.py")),
        Library("kazoo", {"zookeeper"}, True, python("kazoo_lock.py")),
        Library("curator", {"zookeeper"}, True, curator, locks=2),
    ]
}
