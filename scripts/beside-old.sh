#!/usr/bin/env bash
# Runs the program of an earlier commit beside this one's on one store, on every backend: they have to exclude each other, or
# one of them has to refuse with the reason. Never may two be inside at once.
#
#   ./scripts/beside-old.sh              against the commit that is named below
#   ./scripts/beside-old.sh COMMIT       against another one
#   NEW=path OLD=path ./scripts/beside-old.sh     with programs that were built before
#
# Needs redis-server, java and Debian's libzookeeper-java: what scripts/test.sh installs. It ends only what it has started.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=${1:-9212f2c176b58208e3903f9e399bcf1ef3058d2f}
rounds=${ROUNDS:-60}

work=$(mktemp -d "${TMPDIR:-/tmp}/dlock-beside.XXXXXX")
started=()
clean_up() {
    for pid in "${started[@]}"; do
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    git worktree remove --force "$work/tree" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

if [ -z "${NEW:-}" ]; then
    swift build --product dlock
    NEW=$(swift build --show-bin-path)/dlock
fi
if [ -z "${OLD:-}" ]; then
    git worktree add --detach --quiet "$work/tree" "$commit"
    swift build --package-path "$work/tree" --scratch-path "$work/build" --product dlock
    OLD=$(swift build --package-path "$work/tree" --scratch-path "$work/build" --show-bin-path)/dlock
fi
export NEW OLD work
export XDG_STATE_HOME=$work/state
unset DLOCK_BACKEND DLOCK_HELD

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start_redis() {
    port=$(free_port)
    mkdir -p "$work/servers/redis-$port"
    redis-server --port "$port" --bind 127.0.0.1 --dir "$work/servers/redis-$port" --save '' --appendonly no \
        > "$work/servers/redis-$port/log" 2>&1 &
    started+=($!)
    for _ in $(seq 100); do redis-cli -p "$port" ping 2>/dev/null | grep -q PONG && return; sleep 0.1; done
    echo "redis-server does not start" >&2
    exit 1
}

start_zookeeper() {
    port=$(free_port)
    mkdir -p "$work/servers/zookeeper"
    printf '%s\n' "dataDir=$work/servers/zookeeper/data" "clientPort=$port" clientPortAddress=127.0.0.1 tickTime=500 \
        admin.enableServer=false maxClientCnxns=0 > "$work/servers/zookeeper/zoo.cfg"
    jars=
    for jar in zookeeper zookeeper-jute slf4j-api slf4j-nop metrics-core snappy-java commons-cli commons-io \
        jackson-core jackson-databind jackson-annotations netty-buffer netty-codec netty-common netty-handler \
        netty-resolver netty-transport netty-transport-native-epoll netty-transport-native-unix-common; do
        jars=$jars:/usr/share/java/$jar.jar
    done
    java -Xmx128m -cp "${jars#:}" org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/servers/zookeeper/zoo.cfg" \
        > "$work/servers/zookeeper/log" 2>&1 &
    started+=($!)
    for _ in $(seq 300); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return; sleep 0.1; done
    echo "zookeeper does not start" >&2
    exit 1
}

# Inside: a folder that can be made only once at a time, a counter that is read and written in two steps, and the token.
cat > "$work/inside.sh" <<'END'
mkdir "$1/inside" 2>/dev/null || echo "two at once: $2" >> "$1/broken"
n=$(cat "$1/counter"); sleep 0.01; echo $((n + 1)) > "$1/counter"
echo "$DLOCK_FENCING_TOKEN $2" >> "$1/tokens"
rmdir "$1/inside" 2>/dev/null || true
END

failed=0
beside() {
    name=$1 url=$2
    folder=$work/$name
    mkdir "$folder"
    echo 0 > "$folder/counter"
    : > "$folder/tokens"
    # What the old one makes the new one finds, and the other way round.
    "$OLD" run --backend "$url" --wait 20s first -- true 2>> "$folder/errors" || true
    one() {
        for i in $(seq $((rounds / 4))); do
            "$2" run --backend "$url" --lease 10s --wait 120s it -- sh "$work/inside.sh" "$folder" "$1" \
                2>> "$folder/errors-$1" && continue
            echo "$?" >> "$folder/refused-$1"
        done
    }
    workers=()
    for which in old new old new; do
        if [ $which = old ]; then one old "$OLD" & else one new "$NEW" & fi
        workers+=($!)
    done
    wait "${workers[@]}"
    # Each sees the other's lock as taken, and as whose it is.
    for pair in "$OLD:$NEW" "$NEW:$OLD"; do
        rm -f "$folder/holds"
        "${pair%%:*}" run --backend "$url" --lease 10s --wait 30s held -- \
            sh -c "touch $folder/holds; sleep 2" 2>> "$folder/errors" &
        holder=$!
        for _ in $(seq 200); do [ -e "$folder/holds" ] && break; kill -0 $holder 2>/dev/null || break; sleep 0.05; done
        if [ -e "$folder/holds" ]; then
            "${pair##*:}" run --backend "$url" --lease 10s --no-wait held -- \
                sh -c "echo 'a held lock was granted' >> $folder/broken" 2>> "$folder/errors" || true
        fi
        wait $holder || true
    done
    grants=$(wc -l < "$folder/tokens")
    counter=$(cat "$folder/counter")
    twice=$(cut -d' ' -f1 "$folder/tokens" | sort | uniq -d | wc -l)
    falling=$({ cut -d' ' -f1 "$folder/tokens" | sort -n -c 2>&1 || true; } | wc -l)
    by_old=$(grep -c ' old$' "$folder/tokens" || true)
    by_new=$(grep -c ' new$' "$folder/tokens" || true)
    refusals=$({ cat "$folder"/refused-* 2>/dev/null || true; } | wc -l)
    result=ok
    [ -e "$folder/broken" ] && result="BROKEN: $(sort "$folder/broken" | uniq -c | tr '\n' ';')"
    [ "$counter" = "$grants" ] || result="BROKEN: $grants grants, the counter is at $counter"
    [ "$twice" = 0 ] && [ "$falling" = 0 ] || result="BROKEN: tokens twice or falling"
    [ "$by_new" -gt 0 ] || result="BROKEN: this version was never granted: $(tail -n 1 "$folder/errors-new")"
    [ "$refusals" = 0 ] || [ "$result" != ok ] || result="refused: $(cat "$folder"/errors-* | sort | uniq -c | sort -rn | head -n 1)"
    echo "$name: $by_old grants of the old, $by_new of the new; $result"
    case $result in BROKEN*) failed=1 ;; esac
}

beside embedded "embedded://$work/locks.db"
start_redis
beside redis "redis://127.0.0.1:$port"
servers=
for _ in 1 2 3; do
    start_redis
    servers=$servers,127.0.0.1:$port
done
"$OLD" init --backend "redlock://${servers#,}"
beside redlock "redlock://${servers#,}"
start_zookeeper
beside zookeeper "zookeeper://127.0.0.1:$port"
exit $failed
