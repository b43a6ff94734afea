# shellcheck shell=bash disable=SC2034
# To be sourced: which Debian packages the scripts need, and how they are installed.

# What a build needs beside the Swift toolchain.
build_packages=(binutils ca-certificates g++ git libc6-dev libsqlite3-dev)

# What the toolchain itself needs, where only its archive was unpacked.
toolchain_packages=(libcurl4-openssl-dev libncurses-dev libxml2-dev tzdata)

# What all tests need besides: the servers, and the tools with which tests make certificates, networks and clocks.
test_packages=(
    chromium default-jre-headless iproute2 liblua5.1-0 libzookeeper-java openssl postgresql-15 postgresql-client-15
    python3 python3-redis redis-server redis-tools util-linux
)

# In which simulated servers run the shipped scripts.
simulation_packages=(liblua5.1-0)

# What counts instructions, and the servers whose clients are counted.
instruction_packages=(binutils default-jre-headless libzookeeper-java python3 python3-redis redis-server valgrind)

# Servers, and what workers of other libraries need, for scripts/torture.sh. The rest of them comes from PyPI.
torture_packages=(
    default-jdk-headless g++ iproute2 libcurator-recipes-java libzookeeper-java python3 python3-pip redis-server
)

# What a Debian package is made with.
package_packages=(binutils dpkg-dev)

# install_packages PACKAGE…: installs those that are missing, by root or by sudo. Fails with one line that says what to install.
# It reads no input and writes to standard error only.
install_packages() {
    # Elsewhere packages have other names: the build says what it does not find.
    command -v dpkg-query >/dev/null || return 0
    local package missing=() as_root=(env)
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "these packages are missing; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo env)
    fi
    echo "installing ${missing[*]}" >&2
    if ! { "${as_root[@]}" apt-get update -qq \
        && "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"; } </dev/null >/dev/null
    then
        echo "these packages are missing and could not be installed: ${missing[*]}" >&2
        return 1
    fi
}

# prepare_build: sees to it that Swift is there and can build. Fails with one line that says what is missing.
prepare_build() {
    if ! command -v swift >/dev/null; then
        echo "Swift 6.2 or later is missing: https://www.swift.org/install/linux" >&2
        return 1
    fi
    install_packages "${build_packages[@]}" || return
    swift build --version >/dev/null 2>&1 || install_packages "${toolchain_packages[@]}"
}
