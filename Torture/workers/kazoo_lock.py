"""kazoo's Lock, with a listener that stops believing when the connection is suspended or the session lost."""

import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from session import Session

logging.disable(logging.CRITICAL)
session = Session()
client = KazooClient(hosts=session.backend, timeout=session.lease)
changes = [0]


def changed(state):
    if state != KazooState.CONNECTED:
        changes[0] += 1
        session.ask("told", state)


client.add_listener(changed)
while True:
    try:
        client.start(timeout=5)
        break
    except Exception as error:
        session.failed(error)
while session.goes_on():
    lock = client.Lock("/torture-kazoo/" + session.lock.replace("/", "-"))
    try:
        if not lock.acquire():
            continue
        seen = changes[0] if client.connected else -1
        session.hold(is_lost=lambda: changes[0] != seen, outlives_lease=True)
        lock.release()
        session.ask("released")
    except (KazooException, AttributeError) as error:
        session.failed(error)
client.stop()
