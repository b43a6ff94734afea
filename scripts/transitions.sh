#!/usr/bin/env bash
# Runs the simulator with a count at each branch of the shipped machines, and compares what no run has reached with what is known
# not to be reached (Tests/LockSimulatorTests/Unreached.tsv, a reason for each). Ends with 1 where the two differ: a transition that no fault leads to
# is a hole in the simulator.
#
#   ./scripts/transitions.sh [--seeds N]         150 seeds of each backend by default
#   ./scripts/transitions.sh --faults            how many branches of each machine each kind of fault reaches, as a table
#   ./scripts/transitions.sh --update            writes the list anew; reasons stay, new lines have "?"
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=150 mode=check
while (($#)); do
    case $1 in
    --seeds) seeds=$2 && shift 2 ;;
    --faults) mode=faults && shift ;;
    --update) mode=update && shift ;;
    *)
        echo "unknown: $1; the head of this script says what there is" >&2
        exit 64
        ;;
    esac
done

. scripts/install-packages.sh
prepare_build
install_packages "${simulation_packages[@]}"
options=(-c release --product lock-simulator --scratch-path .build-coverage -Xswiftc -profile-generate -Xswiftc -profile-coverage-mapping)
swift build "${options[@]}" >&2
simulator=$(swift build "${options[@]}" --show-bin-path)/lock-simulator
folder=$(mktemp -d "${TMPDIR:-/tmp}/dlock-transitions.XXXXXX")
trap 'rm -rf "$folder"' EXIT
backends=$("$simulator" --list-backends)

# $1: name of the result; then arguments of the simulator.
run() {
    local name=$1 pids=() half=$((seeds / 2))
    shift
    LLVM_PROFILE_FILE="$folder/$name.1.profraw" "$simulator" "$@" --seed 1 --seeds "$half" >>"$folder/out" 2>&1 &
    pids+=($!)
    LLVM_PROFILE_FILE="$folder/$name.2.profraw" "$simulator" "$@" --seed $((half + 1)) --seeds "$((seeds - half))" >>"$folder/out" 2>&1 &
    pids+=($!)
    for pid in "${pids[@]}"; do
        if ! wait "$pid"; then
            tail -n 5 "$folder/out" >&2
            exit 1
        fi
    done
}
export_counts() {
    llvm-profdata merge -sparse "$folder"/$1*.profraw -o "$folder/$1.profdata"
    llvm-cov export "$simulator" -instr-profile "$folder/$1.profdata" -skip-expansions >"$folder/$1.json"
}
for backend in $backends; do
    if [ $mode = faults ]; then
        # Line by line: a kind of fault has spaces in its name.
        while read -r fault; do
            name=$(tr -c 'a-z\n' - <<<"${fault,,}")
            run "$name.$backend" --backend "$backend" --only "$fault"
        done < <("$simulator" --backend "$backend" --list-faults)
    else
        run "all.$backend" --backend "$backend"
    fi
done
if [ $mode = faults ]; then
    for name in $(cd "$folder" && ls ./*.profraw | sed 's|^\./||; s|\..*||' | sort -u); do export_counts "$name"; done
else
    export_counts all
fi
exec /usr/bin/python3 Tests/LockSimulatorTests/transitions.py "$mode" "$folder"/*.json
