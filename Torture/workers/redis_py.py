"""redis-py's Lock, on one master: HOST:PORT."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import redis
from session import Session

session = Session()
host, port = session.backend.split(":")
client = redis.Redis(host=host, port=int(port))
while session.goes_on():
    lock = client.lock(session.lock, timeout=session.lease)
    try:
        if not lock.acquire():
            continue
        session.hold()
        lock.release()
        session.ask("released")
    except redis.RedisError as error:
        session.failed(error)
