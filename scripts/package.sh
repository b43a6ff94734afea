#!/usr/bin/env bash
# Makes a Debian package of dlock for this machine's architecture, under .build/packages.
#
#   scripts/package.sh         makes the package
#   scripts/package.sh --try   makes it and tries it in an empty Debian: installs it there, uses it, and removes it. Root only
#
# DEBFULLNAME and DEBEMAIL say who makes it; without them it is whoever made the last commit. MIRROR is where the empty Debian comes
# from.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
'' | --try) ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac
. scripts/install-packages.sh
install_packages "${package_packages[@]}"

work=$(mktemp -d /var/tmp/dlock-package.XXXXXX)
clean_up() {
    status=$?
    trap - EXIT
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage=$work/stage
documents=$stage/usr/share/doc/dlock
DESTDIR=$stage scripts/install.sh /usr
version=$("$stage/usr/bin/dlock" --version)
architecture=$(dpkg --print-architecture)
install -d "$stage/DEBIAN" "$documents"

# Where Debian has these.
install -d "$stage/usr/share/zsh/vendor-completions"
mv "$stage/usr/share/zsh/site-functions/_dlock" "$stage/usr/share/zsh/vendor-completions/_dlock"
rmdir "$stage/usr/share/zsh/site-functions"
gzip -9n "$stage"/usr/share/man/man1/*.1
gzip -9nc CHANGELOG.md >"$documents/changelog.gz"
{
    echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    echo "Upstream-Name: swift-distributed-locks"
    echo
    echo "Files: *"
    echo "Copyright: the authors of swift-distributed-locks"
    echo "License: Apache-2.0"
    echo " On Debian systems the text of this licence is in /usr/share/common-licenses/Apache-2.0."
} >"$documents/copyright"

# Which packages have the libraries that it needs, and from which version on.
mkdir "$work/debian"
printf 'Source: dlock\n\nPackage: dlock\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O stage/usr/bin/dlock | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "package.sh: what dlock depends on cannot be told" >&2; exit 1; }

cat >"$stage/DEBIAN/control" <<END
Package: dlock
Version: $version
Architecture: $architecture
Maintainer: ${DEBFULLNAME:-$(git log -1 --format=%an)} <${DEBEMAIL:-$(git log -1 --format=%ae)}>
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$stage" | cut -f 1)
Depends: $depends
Section: admin
Priority: optional
Description: runs commands under a distributed lock
 A lock keeps two machines, or two processes, from doing the same thing at
 once. Locks are kept in a file of one host, on Redis, on several independent
 Redis servers (Redlock), or on ZooKeeper. Each grant comes with a fencing
 token, a number that rises with every grant, so that what the lock protects
 can refuse a late writer. The command never outlives its lock.
END
(cd "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"

package=.build/packages/dlock_${version}_$architecture.deb
mkdir -p .build/packages
dpkg-deb --root-owner-group --build "$stage" "$package" >/dev/null
echo "made $package"
[ "${1:-}" = --try ] || exit 0

[ "$(id -u)" = 0 ] || { echo "package.sh: only root can try it in an empty Debian" >&2; exit 1; }
install_packages debootstrap
debian=$work/debian-root
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "making an empty $release"
# shellcheck disable=SC2086
debootstrap --variant=minbase "$release" "$debian" ${MIRROR:-} >"$work/debootstrap.log" || {
    tail -n 5 "$work/debootstrap.log" >&2
    exit 1
}
cp "$package" "$debian/root/dlock.deb"
cat >"$debian/root/try.sh" <<'END'
set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8
# What programs keep as a cache, such as pages that man has shown, is theirs.
files() { find / -xdev \( -path /proc -o -path /root -o -path /var/cache \) -prune -o -name '*dlock*' -print; }
say() { echo "ok: $*"; }
apt-get update -qq
apt-get install -y -qq man-db >/dev/null 2>&1
apt-get install -y -qq /root/dlock.deb >/dev/null 2>&1
say "installed dlock $(dlock --version) with $(dpkg -s dlock | sed -n 's/^Depends: //p')"
if dpkg -l 'libswift*' >/dev/null 2>&1; then echo 'Swift is installed'; exit 1; fi
out=$(cd /tmp && dlock run hello -- sh -c 'echo "token $DLOCK_FENCING_TOKEN"')
case $out in 'token '[1-9]*) say "dlock run: $out" ;; *) echo "not a token: $out"; exit 1 ;; esac
code=0; dlock run hello -- sh -c 'exit 7' || code=$?
[ "$code" = 7 ]
dlock run hello -- dlock status hello | grep -q hello
say "dlock status"
for page in dlock dlock-run dlock-status; do man -w "$page" >/dev/null; done
man dlock run 2>/dev/null | grep -q -- --max-hold
say "man dlock, man dlock run"
bash -c '. /usr/share/bash-completion/completions/dlock && complete -p dlock' >/dev/null
test -s /usr/share/zsh/vendor-completions/_dlock
test -s /usr/share/fish/vendor_completions.d/dlock.fish
say "completions for bash, zsh and fish"
if dpkg -V dlock | grep .; then exit 1; fi
apt-get purge -y -qq dlock >/dev/null 2>&1
left=$(files)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
say "removed without a trace"
END
# In a mount namespace of its own, so that nothing stays mounted.
unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" /bin/bash /root/try.sh' _ "$debian"
