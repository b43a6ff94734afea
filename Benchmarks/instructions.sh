#!/usr/bin/env bash
# Counts the instructions of one cycle (acquire and release) on each backend, and compares them with what they may be.
# A count does not depend on how busy the machine is, as a time does.
#
#   Benchmarks/instructions.sh [--update] [path of a release dlock]
#
# The exit code is 1 if a cycle costs more than a twentieth above what instructions/thresholds.tsv allows. --update writes
# what was counted there instead: a change that costs more says why in its commit. ROUNDS counts are made of each (3), and the
# median counts. It needs valgrind, cc, redis-server, java with Debian's libzookeeper-java, and python3 with the package redis,
# and installs what is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/.." && pwd)

update=
if [ "${1:-}" = --update ]; then
    update=--update
    shift
fi
. "$package/scripts/install-packages.sh"
install_packages "${instruction_packages[@]}"
build_flags=
. "$here/peers/dlock.sh"

# Debian's package is Debian's Python's.
python=python3
"$python" -c 'import redis' 2>/dev/null || python=/usr/bin/python3

PYTHONPATH="$here/peers/redis:$here/peers/zookeeper" exec "$python" "$here/instructions/count.py" $update "$dlock"
