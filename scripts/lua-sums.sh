#!/bin/sh
# Writes the hashes by which Redis knows the Lua scripts. Run it after a change to one of them.
set -eu
cd "$(dirname "$0")/.."

(cd Sources/Fencing/Redis/Scripts && sha1sum write.lua | sed 's/  write.lua$/ write/' > SHA1SUMS)

cd Sources/Backends/Redis/Locks/Scripts
for script in *.lua; do
    name=${script%.lua}
    [ "$name" = common ] && continue
    # A line "--@include common" is replaced by that file without its last line end: see RedisScript.swift.
    sum=$(awk '
        $0 == "--@include common" { while ((getline line < "common.lua") > 0) print line; print ""; next }
        { print }
    ' "$script" | sha1sum | cut -d" " -f1)
    echo "$sum $name"
done > SHA1SUMS
