#!/usr/bin/env bash
# Formats all Swift sources; with --check only tells what is not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
folders=(Package.swift Sources Tests Examples/FlashSale/Package.swift Examples/FlashSale/Sources)
if [ "${1:-}" = --check ]; then
    swift format lint --strict --parallel --recursive "${folders[@]}"
else
    swift format --in-place --parallel --recursive "${folders[@]}"
fi
