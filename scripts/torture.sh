#!/usr/bin/env bash
# Real faults on real servers, for this package and for other libraries side by side: workers are stopped past their lease and killed,
# servers are killed and restarted with and without their data, fail over, are cut off, refuse to write; clocks are stepped, connections
# go half-open. Prints a line of JSON for each kind of fault and library; docs/torture-results.md says what the letters mean.
#
#   ./scripts/torture.sh --backend redis|redlock|sentinel|zookeeper|embedded [--library dlock,redis-py,…] [--minutes 10]
#       [--faults stop,kill,…] [--each COUNT] [--locks 3] [--keep FOLDER]
#   ./scripts/torture.sh --table FOLDER…        the tables of what is kept there
#   ./scripts/torture.sh --self-test            shows that the checker can fail
#
# DLOCK names a release dlock; without it one is built. Histories, one JSON line for each event, and results.jsonl are kept in FOLDER
# (.build/torture/kept). As root: cutting a follower off needs network namespaces. Everything is on loopback or in namespaces of the
# run's own, and is removed at the end, also after Ctrl-C. Ends with 1 if dlock broke what it promises: a token that did not rise, a
# fence that was passed, a stall, a leftover. (Where two hold at once depends on the kind of fault: see the page.)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/install-packages.sh
export PYTHONDONTWRITEBYTECODE=1
case "${1:-}" in
    --self-test)
        install_packages python3
        cd Torture && exec /usr/bin/python3 -m unittest test_checker
        ;;
    --table)
        shift
        exec /usr/bin/python3 Torture/table.py "$@"
        ;;
    '' | -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' scripts/torture.sh
        exit 0
        ;;
esac

install_packages "${torture_packages[@]}"
work=$PWD/.build/torture
packages=$work/packages
mkdir -p "$work"
peers=(kazoo==2.11.0 pottery==3.0.1 python-redis-lock==4.0.1 redis==8.1.0)
if [ "$(cat "$packages/versions" 2>/dev/null)" != "${peers[*]}" ]; then
    rm -rf "$packages"
    /usr/bin/python3 -m pip install --quiet --root-user-action ignore --target "$packages" "${peers[@]}" >&2
    echo "${peers[*]}" >"$packages/versions"
fi
package=$PWD
words=("$@")
set -- ${DLOCK:+"$DLOCK"}
source Benchmarks/peers/dlock.sh
exec env PYTHONPATH="$packages:$PWD/Benchmarks/peers/zookeeper" /usr/bin/python3 Torture/torture.py --keep "$work/kept" --dlock "$dlock" --packages "$packages" \
    "${words[@]}"
