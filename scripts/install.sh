#!/usr/bin/env bash
# Installs dlock with its manual pages and completions. The program needs no Swift where it runs.
#
#   scripts/install.sh [PREFIX]               below /usr/local, or below PREFIX. DESTDIR in the environment goes before it
#   scripts/install.sh --uninstall [PREFIX]   removes what that installed
#
# On a fresh Debian with Swift it installs what the build needs first. What is built is built as the caller; sudo is used for the
# folders only, and only if the caller may not write them.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

is_uninstalling=
if [ "${1:-}" = --uninstall ]; then
    is_uninstalling=1
    shift
fi
case ${1:-} in
-*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac
prefix=${1:-/usr/local}
case $prefix in
/*) ;;
*) prefix=$OLDPWD/$prefix ;;
esac
target=${DESTDIR:-}$prefix
manuals=$target/share/man/man1
bash_completion=$target/share/bash-completion/completions/dlock
zsh_completion=$target/share/zsh/site-functions/_dlock
fish_completion=$target/share/fish/vendor_completions.d/dlock.fish

# The first folder on the way to the target that is there says who may write.
folder=$target
while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
as_owner=()
if [ ! -w "$folder" ]; then
    command -v sudo >/dev/null || fail "$folder may not be written by you: run this as root, or with a PREFIX such as ~/.local"
    as_owner=(sudo)
fi

if [ "$is_uninstalling" ]; then
    "${as_owner[@]}" rm -fv "$target/bin/dlock" "$manuals/dlock.1" "$manuals"/dlock-*.1 \
        "$bash_completion" "$zsh_completion" "$fish_completion"
    exit
fi

. scripts/install-packages.sh
prepare_build

swift build -c release --static-swift-stdlib --enable-all-traits --product dlock
program=$(swift build -c release --static-swift-stdlib --enable-all-traits --show-bin-path)/dlock
if ldd "$program" | grep -E 'swift|Foundation|dispatch|BlocksRuntime'; then
    fail "$program needs these libraries of Swift"
fi
# The tool of the argument parser's manual plugin, by itself: the plugin would build the whole package once more.
parser=.build/checkouts/swift-argument-parser
swift build --quiet --package-path "$parser" --scratch-path .build/manual --product generate-manual

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strip -o "$work/dlock" "$program"
mkdir "$work/pages" "$work/man1"
.build/manual/debug/generate-manual "$work/dlock" --multi-page --output-directory "$work/pages"
# A page is named dlock-run, where `man dlock run` looks for it. What is not for people goes, and so does a remark about the exit
# code, which is not true for all subcommands: the pages say what they exit with.
rm -f "$work/pages"/dlock.help.1 "$work/pages"/dlock.*-worker.1
for page in "$work/pages"/*.1; do
    name=$(basename "$page" .1)
    sed -e '/^\.Xr dlock\.\(help\|[a-z-]*-worker\) /d' -e '/^\.Sh "EXIT STATUS"$/d' -e 's/^\.Ex -std//' -e 's/^$/.Pp/' \
        -e 's/^\.Xr dlock\.\([a-z.-]*\)/.Xr dlock-\1/' -e "s/^\.Dt .*/.Dt $(tr a-z. A-Z- <<<"$name") 1/" \
        "$page" >"$work/man1/${name//./-}.1"
done

"${as_owner[@]}" install -D -m 755 "$work/dlock" "$target/bin/dlock"
"${as_owner[@]}" install -d "$manuals"
"${as_owner[@]}" install -m 644 "$work/man1"/*.1 "$manuals"
for shell in bash zsh fish; do
    "$work/dlock" --generate-completion-script "$shell" >"$work/completion"
    completion=${shell}_completion
    "${as_owner[@]}" install -D -m 644 "$work/completion" "${!completion}"
done
echo "installed $target/bin/dlock, its manual pages and its completions"
