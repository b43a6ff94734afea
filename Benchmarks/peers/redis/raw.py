"""Our own two scripts, run by redis-benchmark.

redis-benchmark repeats one command, so that acquire and release are measured one after the other, each in the state in
which it does its real work: acquire on free locks that have had a token before, release on locks that the owner holds.
Keys are drawn at random from so many that few are drawn twice. A cycle takes as long as both together.
"""

import json
import subprocess

OWNER = "A" * 27 + ":" + "B" * 16 + ":4711:host-name:label"
KEYS = 300_000


def scripts(dlock):
    out = subprocess.run([dlock, "scripts", "list", "--json"], check=True, capture_output=True).stdout
    return {script["name"]: script for script in json.loads(out)}


def measure(server, loaded, options, count):
    """Cycles per second."""
    rates = []
    for name, arguments in (("acquire", [OWNER, "30000"]), ("release", [OWNER])):
        server.client.flushall()
        fill = (
            "for i = ARGV[1], ARGV[1] + 9999 do local k = string.format('dlock:%012d', i) "
            "redis.call('SET', 'dlock.fence:{' .. k .. '}', '1', 'PX', 86400000) "
            "if ARGV[2] == 'release' then redis.call('SET', k, ARGV[3], 'PX', 600000) end end"
        )
        for first in range(0, KEYS, 10_000):
            server.client.eval(fill, 0, first, name, OWNER)
        out = subprocess.run(
            ["redis-benchmark", "-p", str(server.port), "-n", str(count), "-r", str(KEYS), "--csv", *options,
             "EVALSHA", loaded[name]["sha1"], "1", "dlock:__rand_int__", *arguments],
            check=True, capture_output=True, text=True,
        ).stdout
        rates.append(float(out.strip().splitlines()[-1].split(",")[1].strip('"')))
    server.client.flushall()
    return 1 / sum(1 / rate for rate in rates)
