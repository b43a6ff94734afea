#!/bin/sh
# Compares the Redis backend with redis-py's Lock, python-redis-lock, and our own scripts run by redis-benchmark, on one
# server, in one run.
#
#   Benchmarks/peers/redis.sh [path of a release dlock]
#
# With REDSYNC_GOPATH, a folder that holds redsync v4 in src/github.com/go-redsync/redsync/v4, redsync itself is measured, too. It
# needs a current Go in PATH: see ../README.md.
#
# All measurements take turns, ROUNDS times (5), and the median counts, because machines are noisy. Needs redis-server,
# redis-benchmark, and python3 with the packages redis and python-redis-lock from PyPI. The exit code tells whether
# everything could be measured, not whether the goals were met.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)

. "$here/dlock.sh"

exec python3 "$here/redis/compare.py" "$dlock"
