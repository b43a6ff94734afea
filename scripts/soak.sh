#!/usr/bin/env bash
# Repeats the tests in which servers die, connections are cut and callers are cancelled at random, for so many minutes. The random
# ones draw anew each time. Ends at the first failure, whose output it leaves in a file.
#
#   ./scripts/soak.sh [minutes]      60 by default
set -euo pipefail
cd "$(dirname "$0")/.."

end=$(($(date +%s) + ${1:-60} * 60))
log=$(mktemp "${TMPDIR:-/tmp}/dlock-soak.XXXXXX")
rounds=0
while (($(date +%s) < end)); do
    if ! CI=true ./scripts/test.sh --filter 'Fault|Loss|Lost|Cancellation|Random|Sequences|Failover|Ensemble|Crash' >"$log" 2>&1; then
        echo "round $((rounds + 1)) failed: $log" >&2
        exit 1
    fi
    rounds=$((rounds + 1))
done
echo "$rounds rounds, $(grep -o 'Test run with [0-9]* tests' "$log" | tail -1) each, all green"
rm -f "$log"
