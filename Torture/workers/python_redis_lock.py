"""python-redis-lock, which renews by a thread of its own, on one master: HOST:PORT."""

import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import redis
import redis_lock
from session import Session

logging.disable(logging.CRITICAL)
session = Session()
host, port = session.backend.split(":")
client = redis.Redis(host=host, port=int(port))
while session.goes_on():
    lock = redis_lock.Lock(client, session.lock, expire=int(session.lease), auto_renewal=True)
    try:
        if not lock.acquire():
            continue
        session.hold(outlives_lease=True)
        lock.release()
        session.ask("released")
    except (redis.RedisError, redis_lock.NotAcquired) as error:
        session.failed(error)
