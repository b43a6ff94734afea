#!/bin/sh
# Writes the hashes by which Redis knows the Lua scripts. Run it after a change to one of them.
set -eu
cd "$(dirname "$0")/.."

(cd Sources/Fencing/Redis/Scripts && sha1sum write.lua | sed 's/  write.lua$/ write/' > SHA1SUMS)

cd Sources/RedisLocks/Scripts/Lua

# A line "--@include X" is replaced by the file X.lua without its last line end: see RedisScript.swift.
composed() {
    cat "$@" | awk '
        $1 == "--@include" { while ((getline line < ($2 ".lua")) > 0) print line; print ""; next }
        { print }
    ' | sha1sum | cut -d" " -f1
}

{
    for script in *.lua; do
        name=${script%.lua}
        case $name in base | common | epoch | instance-common) continue ;; esac
        echo "$(composed "$script") $name"
    done
    # Where there are Sentinels, the scripts that can grant begin with epoch.lua.
    for name in acquire break cancel release touch; do
        echo "$(composed epoch.lua "$name.lua") sentinel-$name"
    done
} > SHA1SUMS
