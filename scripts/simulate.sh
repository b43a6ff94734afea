#!/usr/bin/env bash
# Runs the shipped locks in simulated worlds, one for each seed, on all cores. The first seed in which something goes wrong ends it: its
# trace is left in a file, and --replay shows it again.
#
#   ./scripts/simulate.sh --backend X [--seeds N] [--from SEED] [--minutes M]    1000 seeds from 1 by default
#   ./scripts/simulate.sh --backend X --replay SEED [--wire]                     the trace of one, line by line
#
# X is redis, redlock or zookeeper.
set -euo pipefail
cd "$(dirname "$0")/.."

backend= seeds=1000 from=1 minutes= replay= wire=()
while (($#)); do
    case $1 in
    --backend) backend=$2 && shift 2 ;;
    --seeds) seeds=$2 && shift 2 ;;
    --from) from=$2 && shift 2 ;;
    --minutes) minutes=$2 && shift 2 ;;
    --replay) replay=$2 && shift 2 ;;
    --wire) wire=(--wire) && shift ;;
    *)
        echo "unknown: $1; the head of this script says what there is" >&2
        exit 64
        ;;
    esac
done
if [ -z "$backend" ]; then
    echo "--backend is missing: redis, redlock or zookeeper" >&2
    exit 64
fi

. scripts/install-packages.sh
prepare_build
install_packages "${simulation_packages[@]}"
swift build -c release --product lock-simulator >&2
simulator=$(swift build -c release --product lock-simulator --show-bin-path)/lock-simulator

if [ -n "$replay" ]; then exec "$simulator" --backend "$backend" --seed "$replay" --trace "${wire[@]}"; fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/dlock-simulate.XXXXXX")
trap 'rm -rf "$folder"' EXIT
# Small portions, so that all cores have some until the end.
portion=50
end=$((minutes ? $(date +%s) + minutes * 60 : 0))
next=$from
last=$((from + seeds))
is_over() {
    [ -e "$folder/failed" ] && return 0
    if ((end)); then (($(date +%s) >= end)); else ((next >= last)); fi
}
while ! is_over; do
    pids=()
    for ((core = 0; core < $(nproc); core++)); do
        count=$portion
        if ((!end && next + count > last)); then count=$((last - next)); fi
        ((count > 0)) || break
        (
            if ! "$simulator" --backend "$backend" --seed "$next" --seeds "$count" >"$folder/$next.txt" 2>&1; then
                touch "$folder/failed"
                echo "$next" >>"$folder/failed"
            fi
        ) &
        pids+=($!)
        next=$((next + count))
    done
    wait "${pids[@]}"
done

if [ -e "$folder/failed" ]; then
    first=$(sort -n "$folder/failed" | head -1)
    # Where it has crashed, nobody has said which seed it was.
    seed=$(grep -o '^seed [0-9]*: [A-Z]' "$folder/$first.txt" | head -1 | grep -o '[0-9]*' || echo "$first")
    kept="${TMPDIR:-/tmp}/dlock-simulation-$backend-$seed.txt"
    tail -n 20 "$folder/$first.txt"
    "$simulator" --backend "$backend" --seed "$seed" --trace >"$kept" 2>&1 || true
    echo "seed $seed fails: $kept; ./scripts/simulate.sh --backend $backend --replay $seed"
    exit 1
fi
awk -v backend="$backend" -v from="$from" -v last="$((next - 1))" '
    { for (i = 2; i <= NF; i++) {
        if ($i ~ /^grants/) grants += $(i - 1)
        if ($i == "refused") refused += $(i - 1)
        if ($i ~ /^steps/) steps += $(i - 1)
        if ($i == "simulated") seconds += $(i - 1)
    } }
    { sub(/.*; /, ""); n = split($0, faults, ", "); for (i = 1; i <= n; i++) { split(faults[i], words, " "); met += words[1] } }
    END { printf "%s: seeds %d to %d, %d grants, %d faults, %d stale writes refused at the resource, %.1f simulated hours, %d steps: nothing went wrong\n",
        backend, from, last, grants, met, refused, seconds / 3600, steps }' "$folder"/*.txt
