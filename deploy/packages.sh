# shellcheck shell=bash
# Installs Debian packages that are missing. Sourced by deploy/quickstart.sh and tests/run.sh.
#
#     need_packages PACKAGE...     says what it installs; needs root or sudo only if something is missing

package_missing() {
    ! dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

need_packages() {
    local missing=() package as_root=()
    for package in "$@"; do
        if package_missing "$package"; then missing+=("$package"); fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "moering: these packages are missing and only root can install them: ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "moering: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What building the server, the command line and the clients takes.
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config
    libnghttp2-dev libevent-dev libssl-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
    grpc-proto zlib1g-dev libjansson-dev libpcre2-dev libutf8proc-dev libyaml-dev liburing-dev)
