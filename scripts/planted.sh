#!/usr/bin/env bash
# Shows that the simulator finds bugs: applies each patch of Tests/LockSimulatorTests/Planted, builds, runs seeds until the rule is broken
# that the patch names, and takes it back. Ends with 1 if one is not found.
#
#   ./scripts/planted.sh [name…]
#
# A patch begins with what it does; then the backend, the rule that is
# broken (M, F1, R, L, O: see Sources/LockSimulator/Scenario/History.swift), and the seeds in which it must be found.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/install-packages.sh
prepare_build
install_packages "${simulation_packages[@]}"
if ! git diff --quiet -- Sources; then
    echo "there are changes under Sources that are not committed: the patches would be mixed with them" >&2
    exit 1
fi
trap 'git checkout -q -- Sources' EXIT

names=("$@")
if ! ((${#names[@]})); then
    for patch in Tests/LockSimulatorTests/Planted/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi
missed=0
for name in "${names[@]}"; do
    patch=Tests/LockSimulatorTests/Planted/$name.patch
    value() { sed -n "s/^$1: //p" "$patch" | head -1; }
    git checkout -q -- Sources
    git apply "$patch"
    # Scripts go by their hashes.
    ./scripts/lua-sums.sh
    swift build -c release --product lock-simulator >/dev/null
    simulator=$(swift build -c release --product lock-simulator --show-bin-path)/lock-simulator
    if output=$("$simulator" --backend "$(value backend)" --seeds "$(value seeds)" 2>&1); then
        echo "$name: NOT FOUND in $(value seeds) seeds"
        missed=$((missed + 1))
    elif found=$(grep "^seed [0-9]*: $(value rule): " <<<"$output" | head -1); then
        echo "$name: $(cut -c1-160 <<<"$found")"
    else
        echo "$name: something else broke: $(tail -1 <<<"$output" | cut -c1-160)"
        missed=$((missed + 1))
    fi
done
exit $((missed > 0))
