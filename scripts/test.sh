#!/usr/bin/env bash
# Runs every test. On a fresh Debian machine it installs what is missing; it starts what it needs and leaves nothing.
#
#   ./scripts/test.sh             all tests
#   ./scripts/test.sh --local     the tests that need neither servers nor root: two minutes after the build
#   ./scripts/test.sh --filter X  what `swift test --filter X` runs; also after --local
#
# With CI=true whatever is missing and cannot be installed is a failure, never a skip.
set -euo pipefail
cd "$(dirname "$0")/.."

is_local=
if [ "${1:-}" = --local ]; then
    is_local=1
    shift
    if [ "${CI:-}" = true ]; then
        echo "--local leaves tests out, and with CI=true no test may be left out" >&2
        exit 64
    fi
    export DLOCK_TESTS=local
fi

. scripts/install-packages.sh
prepare_build
if [ -z "$is_local" ] && ! install_packages "${test_packages[@]}"; then
    echo "./scripts/test.sh --local runs the tests that need none of them" >&2
    exit 1
fi

# What tests leave if they are killed is under here, and goes with it.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/dlock-test.XXXXXX")
# PostgreSQL does not run as root, and then runs as another user, who has to reach its folder.
chmod 711 "$TMPDIR"
export TMPDIR
export XDG_STATE_HOME="$TMPDIR/state"
unset DLOCK_BACKEND DLOCK_HELD

clean_up() {
    status=$?
    trap - EXIT INT TERM
    # Processes of tests that were killed have this folder in their environment; nobody else has.
    for environment in /proc/[0-9]*/environ; do
        pid=${environment#/proc/}
        pid=${pid%/environ}
        [ "$pid" = $$ ] && continue
        if grep -qz "^TMPDIR=$TMPDIR\$" "$environment" 2>/dev/null; then kill -9 "$pid" 2>/dev/null || true; fi
    done
    # Network namespaces carry the id of the process that made them.
    for name in $(ip netns list 2>/dev/null | grep -o '^dlk-[0-9]*-[^ ]*' || true); do
        maker=${name#dlk-}
        [ -e "/proc/${maker%%-*}" ] || ip netns del "$name" 2>/dev/null || true
    done
    # Small disks that tests have mounted.
    grep -o " $TMPDIR/[^ ]*" /proc/mounts 2>/dev/null | xargs -r umount -l || true
    rm -rf "$TMPDIR"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Many tests start processes; more of them at once than this only wait for each other.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=${SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH:-4}

# All traits: FencingHummingbird is tested here, and built by nobody else unless asked for.
swift build --build-tests --enable-all-traits
# What was red is said again at the end: the rest is thousands of lines, of which often only the last are kept.
if ! swift test --skip-build --enable-all-traits "$@" 2>&1 | tee "$TMPDIR/tests.log"; then
    echo
    echo "what was red:"
    grep -a -A 4 -E '^✘ .*recorded an issue|^✘ Test .* failed after|(error|Fatal error): ' "$TMPDIR/tests.log" | tail -n 80 || true
    exit 1
fi
if [ "$is_local" ]; then
    echo "left out: what needs Redis, ZooKeeper, PostgreSQL or root. ./scripts/test.sh runs all tests"
fi
