#!/usr/bin/env bash
# From a fresh checkout to an answer: installs what is missing, builds Release, serves the built-in
# model on this machine only, asks it a question over gRPC and prints what its experts did.
#
#     deploy/quickstart.sh           keeps serving until Ctrl-C
#     deploy/quickstart.sh --once    stops after the answer
#
# MOERING_BUILD names another build folder (default: build/release in the checkout), MOERING_PORT and
# MOERING_GRPC_PORT other ports (default: 8000 and 8001).
set -euo pipefail
cd "$(dirname "$0")/.."

once=false
for word in "$@"; do
    case "$word" in
    --once) once=true ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "quickstart.sh: unknown option $word (there is only --once)" >&2
        exit 2
        ;;
    esac
done

# shellcheck source=deploy/packages.sh
. deploy/packages.sh
need_packages "${BUILD_PACKAGES[@]}"

build=${MOERING_BUILD:-$PWD/build/release}
echo "moering: building in $build"
# The CUDA kernels take minutes to compile: only where there is a GPU for them.
cuda=OFF
if nvidia-smi -L >/dev/null 2>&1; then
    case "$PWD$build" in
    *[\'\"]*) echo "moering: built without CUDA: nvcc cannot read a path with a quote in it" ;;
    *) cuda=AUTO ;;
    esac
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOERING_TESTS=OFF \
    -DMOERING_CUDA=$cuda >/dev/null
ninja -C "$build" --quiet moering moering-client moering-bench

log=$(mktemp)
server=
cleanup() {
    trap - EXIT HUP INT TERM
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -f "$log"
}
trap cleanup EXIT
trap 'exit 129' HUP # the server takes it for: read the settings again
trap 'exit 130' INT
trap 'exit 143' TERM

# A quarter of the experts fit: the rest come from storage when they are wanted.
MOERING_BUILTIN_MODEL=$PWD/deploy/models/tiny \
    "$build/bin/moering" serve --grpc-port "${MOERING_GRPC_PORT:-8001}" --device-experts 25% 2>"$log" &
server=$!
address=
for _ in $(seq 100); do
    address=$(sed -n 's/.*gRPC on \([^ ]*\).*/\1/p' "$log" | head -n 1)
    if [ -n "$address" ] || ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.1
done
if [ -z "$address" ]; then
    echo "moering: the server did not start:" >&2
    cat "$log" >&2
    exit 1
fi
cat "$log"

question=$'Q: What is 45 + 37?\nA:'
printf '\n%s' "$question"
"$build/bin/moering-client" generate --connect "$address" --wait 30 -p "$question" -n 16 --temperature 0
printf '\n'
"$build/bin/moering-client" stats --connect "$address"
printf '\nServing on %s, dashboard and OpenAI API on http://%s/ . Ask it something yourself:\n' "$address" \
    "$(sed -n 's/.*HTTP on \([^ ]*\).*/\1/p' "$log" | head -n 1)"
printf '    "%s/bin/moering-client" generate --connect %s -p "Ada lived near the" -n 60\n' "$build" "$address"
if ! $once; then
    echo "Ctrl-C stops."
    wait "$server"
    server=
fi
