#!/usr/bin/env bash
# Runs the tests with a sanitizer in everything that is ours: `thread` (data races) or `address` (memory that is not ours).
# It builds in a folder of its own.
#
#   ./scripts/sanitize.sh thread|address [--filter X]
#
# Tests of the command line, of whole processes and of the flash sale are left out unless they are named.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
thread | address) sanitizer=$1 ;;
*)
    echo "usage: ./scripts/sanitize.sh thread|address [--filter X]" >&2
    exit 64
    ;;
esac
shift
if (($# == 0)); then
    set -- --filter 'DistributedLocksTests|EmbeddedLocksTests|ContractTests|RedisLocksTests|ZooKeeperLocksTests|FencingTests'
fi

export ASAN_OPTIONS=detect_leaks=0
# The first report ends the process, so that the run cannot be green.
export TSAN_OPTIONS="halt_on_error=1"
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-2}
swift build --build-tests --enable-all-traits --sanitize="$sanitizer" --scratch-path ".build-$sanitizer"
swift test --skip-build --enable-all-traits --sanitize="$sanitizer" --scratch-path ".build-$sanitizer" "$@"
