"""pottery's Redlock: HOST:PORT,HOST:PORT,…"""

import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import redis
from pottery import Redlock
from pottery.exceptions import PotteryError
from session import Session

logging.disable(logging.CRITICAL)
session = Session()
masters = set()
for address in session.backend.split(","):
    host, port = address.split(":")
    masters.add(redis.Redis(host=host, port=int(port)))
while session.goes_on():
    lock = Redlock(key=session.lock, masters=masters, auto_release_time=session.lease)
    try:
        if not lock.acquire(timeout=5):
            continue
        session.hold()
        lock.release()
        session.ask("released")
    except (redis.RedisError, PotteryError) as error:
        session.failed(error)
