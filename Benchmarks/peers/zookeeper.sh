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

dlock=${1:-}
if [ -z "$dlock" ]; then
    swift build --package-path "$package" -c release --static-swift-stdlib --product dlock >&2
    dlock=$(swift build --package-path "$package" -c release --static-swift-stdlib --show-bin-path)/dlock
fi
[ -x "$dlock" ] || { echo "zookeeper.sh: there is no program at $dlock" >&2; exit 66; }

exec python3 "$here/zookeeper/compare.py" "$dlock"
