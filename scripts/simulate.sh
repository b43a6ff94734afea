#!/usr/bin/env bash
# Runs the shipped locks in simulated worlds, one for each seed, on all cores. The first seed in which something goes wrong ends it: its
# trace is left in a file, and --replay shows it again.
#
#   ./scripts/simulate.sh --backend X [--seeds N] [--from SEED] [--minutes M]    1000 seeds from 1 by default
#   ./scripts/simulate.sh --backend X --replay SEED [--wire]                     the trace of one, line by line
#   ./scripts/simulate.sh --backend X --shrink SEED                              the trace of less that goes wrong in the same way
#
# X is redis, sentinel, redlock, zookeeper or embedded. With --record a line on what was run is added to docs/simulated.tsv, and without --from it begins
# behind what stands there.
set -euo pipefail
cd "$(dirname "$0")/.."

backend= seeds=1000 from= minutes= replay= shrink= record= wire=()
while (($#)); do
    case $1 in
    --backend) backend=$2 && shift 2 ;;
    --seeds) seeds=$2 && shift 2 ;;
    --from) from=$2 && shift 2 ;;
    --minutes) minutes=$2 && shift 2 ;;
    --replay) replay=$2 && shift 2 ;;
    --shrink) shrink=$2 && shift 2 ;;
    --record) record=1 && shift ;;
    --wire) wire=(--wire) && shift ;;
    *)
        echo "unknown: $1; the head of this script says what there is" >&2
        exit 64
        ;;
    esac
done
if [ -z "$backend" ]; then
    echo "--backend is missing: redis, sentinel, redlock, zookeeper or embedded" >&2
    exit 64
fi
volumes=docs/simulated.tsv
if [ -n "$record" ] && ! git diff --quiet HEAD -- Sources; then
    echo "there are changes under Sources that are not committed: what was run would have no name" >&2
    exit 64
fi
if [ -z "$from" ]; then
    from=1
    if [ -n "$record" ]; then from=$(awk -F '\t' -v b="$backend" '$3 == b && $5 >= n { n = $5 } END { print n + 1 }' $volumes); fi
fi

. scripts/install-packages.sh
prepare_build
install_packages "${simulation_packages[@]}"
swift build -c release --product lock-simulator >&2
simulator=$(swift build -c release --product lock-simulator --show-bin-path)/lock-simulator

if [ -n "$replay" ]; then exec "$simulator" --backend "$backend" --seed "$replay" --trace "${wire[@]}"; fi

if [ -n "$shrink" ]; then exec "$simulator" --backend "$backend" --seed "$shrink" --shrink; fi

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
    "$simulator" --backend "$backend" --seed "$seed" --shrink >"$kept.shrunk" 2>&1 || true
    echo "seed $seed fails: $kept; ./scripts/simulate.sh --backend $backend --replay $seed"
    echo "less that goes wrong in the same way: $kept.shrunk; ./scripts/simulate.sh --backend $backend --shrink $seed"
    exit 1
fi
result=$(awk -v OFS='\t' '
    { for (i = 2; i <= NF; i++) {
        if ($i ~ /^grants/) grants += $(i - 1)
        if ($i == "refused") refused += $(i - 1)
        if ($i ~ /^steps/) steps += $(i - 1)
        if ($i == "simulated") seconds += $(i - 1)
    } }
    { sub(/.*; /, ""); n = split($0, faults, ", "); for (i = 1; i <= n; i++) { split(faults[i], words, " "); met += words[1] } }
    END { printf "%d\t%d\t%d\t%.0f", grants, met, refused, seconds / 3600 }' "$folder"/*.txt)
IFS=$'\t' read -r grants met refused hours <<<"$result"
echo "$backend: seeds $from to $((next - 1)), $grants grants, $met faults, $refused stale writes refused at the resource," \
    "$hours simulated hours: nothing went wrong"
if [ -n "$record" ]; then
    printf '%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n' "$(date -u +%F)" "$(git rev-parse --short HEAD)" "$backend" "$from" "$((next - 1))" \
        "$grants" "$met" "$refused" "$hours" >>$volumes
fi
