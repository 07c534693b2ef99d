#!/usr/bin/env bash
# Builds the Debian package of this checkout and prints its name.
#
#     deploy/package.sh [FOLDER]     where the .deb goes; default: build/package in the checkout
#
# MOERING_BUILD names another build folder (default: build/package), MOERING_CUDA is ON or OFF
# (default: OFF; ON needs nvcc and makes moering-cuda).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=deploy/packages.sh
. "$here/deploy/packages.sh"
need_packages "${BUILD_PACKAGES[@]}" dpkg-dev file

build=${MOERING_BUILD:-$here/build/package}
mkdir -p "$build" "${1:-$build}"
out=$(cd "${1:-$build}" && pwd)
cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DMOERING_TESTS=OFF -DMOERING_CUDA="${MOERING_CUDA:-OFF}" >/dev/null
ninja -C "$build" --quiet
(cd "$build" && cpack -G DEB -B "$out" >"$out/cpack.log" 2>&1) || {
    cat "$out/cpack.log" >&2
    exit 1
}
rm -rf "$out/_CPack_Packages" "$out/cpack.log"
ls "$out"/moering*.deb
