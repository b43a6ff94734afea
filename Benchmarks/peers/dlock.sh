# To be sourced: sets `dlock` to the program given, or to one that is built now, of the package that `package` names.

dlock=${1:-}
if [ -z "$dlock" ]; then
    swift build --package-path "$package" -c release --static-swift-stdlib --product dlock >&2
    dlock=$(swift build --package-path "$package" -c release --static-swift-stdlib --show-bin-path)/dlock
fi
[ -x "$dlock" ] || { echo "there is no program at $dlock" >&2; exit 66; }
