#!/bin/sh
# Compares the ZooKeeper backend with Curator's InterProcessMutex and kazoo's Lock, on one server and on three, in one run.
#
#   Benchmarks/peers/zookeeper.sh [path of a release dlock]
#
# All measurements take turns, ROUNDS times (5), and the median counts, because machines are noisy. Needs java and javac,
# Debian's libzookeeper-java and libcurator-recipes-java, and python3 with kazoo from PyPI. The exit code tells whether
# everything could be measured, not whether the goals were met.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)

. "$here/dlock.sh"

exec python3 "$here/zookeeper/compare.py" "$dlock"
