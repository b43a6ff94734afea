#!/bin/sh
# Compares the embedded backend with its raw limits: SQLite's commits, and flock(1).
#
#   Benchmarks/peers/embedded.sh [path of a release dlock] [folder on the disk to measure]
#
# All measurements take turns, ROUNDS times (5), and the median counts, because machines are noisy. Needs cc, the headers
# of libsqlite3, flock and python3 (for arithmetic only). The exit code tells whether everything could be measured, not
# whether the goals were met.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)
rounds=${ROUNDS:-5}
seconds=${SECONDS_PER_ROUND:-1}
spawns=${SPAWNS_PER_ROUND:-100}

. "$here/dlock.sh"

work=$(mktemp -d "${2:-/var/tmp}/dlock-peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cc -O2 -Wall -Wextra -Werror -o "$work/raw" "$here/raw.c" -lsqlite3

backend="embedded://$work/locks.db"
bench() { "$dlock" bench --backend "$backend" --rounds 1 --seconds "$seconds" --json "$@"; }

round=1
while [ "$round" -le "$rounds" ]; do
    say() { if [ -t 2 ]; then printf '\r\033[Kround %s of %s: %s' "$round" "$rounds" "$1" >&2; fi; }
    say "SQLite commits"
    "$work/raw" commits "$work/raw-$round.db" "$seconds" > "$work/commits.$round"
    say "seq"
    bench --workload seq > "$work/seq.$round"
    say "hot-16"
    bench --workload hot-16 --processes 16 > "$work/hot.$round"
    say "dlock run and flock"
    # One turn each, so that both meet the same machine.
    "$work/raw" spawn "$spawns" \
        "$dlock" run --backend "$backend" peers -- true \
        ++ flock "$work/flock" true > "$work/spawn.$round"
    say "crash"
    bench --workload crash > "$work/crash.$round"
    say "idle"
    bench --workload idle > "$work/idle.$round"
    round=$((round + 1))
done
if [ -t 2 ]; then printf '\r\033[K' >&2; fi

python3 "$here/table.py" "$work" "$rounds"
