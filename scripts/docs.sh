#!/usr/bin/env bash
# Builds the documentation; a warning is a failure. The result is under .build/documentation.
set -euo pipefail
cd "$(dirname "$0")/.."
output=.build/documentation
mkdir -p "$output"
for target in DistributedLocks EmbeddedLocks RedisLocks ZooKeeperLocks LockURLs LockTesting Fencing FencingGRDB; do
    swift package --enable-all-traits --allow-writing-to-directory "$output" generate-documentation \
        --target "$target" --output-path "$output/$target" --warnings-as-errors
done
