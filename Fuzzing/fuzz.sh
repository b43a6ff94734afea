#!/usr/bin/env bash
# Builds a target with libFuzzer and AddressSanitizer and runs it: fuzz.sh [target] [seconds]. See README.md.
set -euo pipefail
cd "$(dirname "$0")"
target="${1:-resp}"
seconds="${2:-60}"
source="Targets/$target.swift"
if [ ! -f "$source" ]; then
    echo "no such target: $target" >&2
    exit 2
fi

instrumented=(-sanitize=fuzzer,address -parse-as-library)
swift build -c release --product Fuzzed -Xswiftc "${instrumented[0]}" -Xswiftc "${instrumented[1]}"
products="$(swift build -c release --show-bin-path)"

# What SwiftPM gives to its own modules, so that the target may use what is `package`.
includes=(-I "$products/Modules")
for folder in .build/checkouts/*/Sources/*/include; do
    if [ -f "$folder/module.modulemap" ]; then
        includes+=(-Xcc "-fmodule-map-file=$folder/module.modulemap")
    fi
    includes+=(-Xcc "-I$folder")
done
for map in "$products"/*.build/module.modulemap; do
    includes+=(-Xcc "-fmodule-map-file=$map")
done
swiftc "${instrumented[@]}" -O -swift-version 6 -warnings-as-errors -package-name fuzzing "${includes[@]}" \
    "$source" "$products/libFuzzed.a" -o ".build/fuzz-$target"

# What is found is kept in the build folder, beside the corpus that is under version control.
mkdir -p ".build/found/$target" crashes
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
# Swift's own crash handler reads memory that AddressSanitizer takes for a second fault.
export SWIFT_BACKTRACE=enable=no
".build/fuzz-$target" -max_total_time="$seconds" -max_len=1024 -timeout=5 -rss_limit_mb=1024 \
    -print_final_stats=1 -artifact_prefix="crashes/$target-" ".build/found/$target" "corpus/$target"
