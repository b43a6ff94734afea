# To be sourced: sets `dlock` to the program given, or to one that is built now, of the package that `package` names, with
# what `build_flags` says (Swift's libraries in it, unless set).

dlock=${1:-}
if [ -z "$dlock" ]; then
    build_flags=${build_flags---static-swift-stdlib}
    swift build --package-path "$package" -c release $build_flags --product dlock >&2
    dlock=$(swift build --package-path "$package" -c release $build_flags --show-bin-path)/dlock
fi
[ -x "$dlock" ] || { echo "there is no program at $dlock" >&2; exit 66; }
