#!/bin/sh
# Compares the Redlock backend with pottery's Redlock, on five servers, in one run; and with redsync's figures of another machine,
# scaled by what redis-benchmark measures on this one.
#
#   Benchmarks/peers/redlock.sh [path of a release dlock]
#
# With REDSYNC_GOPATH, a folder that holds redsync v4 in src/github.com/go-redsync/redsync/v4, redsync itself is measured, too. It
# needs a current Go in PATH: see ../README.md.
#
# All measurements take turns, ROUNDS times (5), and the median counts, because machines are noisy. Needs redis-server,
# redis-benchmark, and python3 with the packages redis and pottery from PyPI. The exit code tells whether everything could be
# measured, not whether the goals were met.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)

. "$here/dlock.sh"

PYTHONPATH="$here/redis" exec python3 "$here/redlock/compare.py" "$dlock"
