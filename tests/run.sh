#!/usr/bin/env bash
# Installs what is missing, builds, runs every test. The one command of continuous integration.
#
#     tests/run.sh               release, then address+undefined sanitizers, then thread sanitizer
#     tests/run.sh fast          release only
#     tests/run.sh asan|tsan     one sanitizer only
#
# Further words go to ctest:  tests/run.sh fast -R engine/
# MOERING_FUZZ_SECONDS (default 10) is how long each fuzz target runs under the sanitizers.
# Build folders are build/<preset>, or $MOERING_BUILD/<preset>.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
case "$what" in
all | fast | asan | tsan) shift $(($# > 0 ? 1 : 0)) ;;
-*) what=all ;;
*)
    echo "tests/run.sh: unknown word $what (all, fast, asan or tsan)" >&2
    exit 2
    ;;
esac

# shellcheck source=deploy/packages.sh
. deploy/packages.sh
need_packages "${BUILD_PACKAGES[@]}" libgtest-dev libgmock-dev \
    python3 python3-grpcio python3-protobuf python3-h2 python3-prometheus-client python3-setuptools \
    git curl openssl nginx-light haproxy \
    shellcheck yamllint prometheus python3-yaml dpkg-dev file fakeroot systemd \
    chromium chromium-driver python3-selenium

# The release build compiles the CUDA sources for GPUs where nvcc is; every build runs them on the
# host double.
PATH=$PATH:/usr/local/cuda/bin
if ! command -v nvcc >/dev/null; then
    echo "skipped: compiling for GPUs (no nvcc in PATH or /usr/local/cuda/bin)"
fi
jobs=$(nproc)
fuzz_seconds=${MOERING_FUZZ_SECONDS:-10}
root=${MOERING_BUILD:-$PWD/build}

# run_preset NAME SECONDS_PER_FUZZ_TARGET CTEST_WORDS...
run_preset() {
    local preset=$1 seconds=$2 build=$root/$1
    shift 2
    echo "== $preset: configure and build"
    cmake --preset "$preset" -B "$build" -DMOERING_FUZZ_SECONDS="$seconds" >/dev/null
    ninja -C "$build" --quiet -j "$jobs"
    echo "== $preset: test"
    ctest --test-dir "$build" --output-on-failure -j "$jobs" "$@"
}

# Under ASan every test runs but the README's commands, which build for themselves; under TSan those in
# which threads meet: the rest is not built (tests/CMakeLists.txt).
# The release build fuzzes only briefly: there a fault would often go unseen.
if [ "$what" = all ] || [ "$what" = fast ]; then run_preset release 1 "$@"; fi
if [ "$what" = all ] || [ "$what" = asan ]; then run_preset asan "$fuzz_seconds" -E "e2e/readme" "$@"; fi
if [ "$what" = all ] || [ "$what" = tsan ]; then
    # The last ones fill sockets with what a slow engine makes, or disks; serve and metrics meet the
    # same threads.
    run_preset tsan 1 -E "e2e/readme|engine/backend/cpu/(packed_|kernels)|openai_exchange|e2e/(openai|kserve|client_|http_hostile|full_disk)" "$@"
fi
echo "moering: all tests of '$what' passed"
