#!/usr/bin/env bash
# Failovers of Redis Sentinel under load from several processes (R9), half of them ordered, half by killing the master. Prints
# how many tokens were checked and how long nobody was granted anything. A hundred take about half an hour.
#
#   ./scripts/failovers.sh [failovers]
set -euo pipefail
cd "$(dirname "$0")/.."
DLOCK_FAILOVERS=${1:-100} exec ./scripts/test.sh --filter FailoverTests
