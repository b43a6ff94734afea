#!/usr/bin/env bash
# A ZooKeeper follower cut off with its client, twenty times in each of two cases (Z3). Takes about ten minutes, as root.
#
#   ./scripts/cut-off.sh [rounds]
set -euo pipefail
cd "$(dirname "$0")/.."
DLOCK_CUT_OFF_ROUNDS=${1:-20} exec ./scripts/test.sh --filter CutOffFollowerTests
