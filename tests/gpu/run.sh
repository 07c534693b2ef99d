#!/usr/bin/env bash
# Everything that needs a GPU, in one run: builds, proves the kernels and the golden models on the
# device, measures, and writes one JSON and one table.
#
#     tests/gpu/run.sh [OUT_DIR]              default: $OUT, or build/gpu/out
#
# Needs the CUDA toolkit (12.4 or newer), gcc and g++, CMake 3.25, Python 3, ninja or make. No network.
#     MOERING_BUNDLE    folder of bundle.sh, where jansson, pcre2, utf8proc or GoogleTest are missing
#     MOERING_PHASES    of "build check figures peer sanitize" (default: all, in this order)
#     MOERING_MODELS    of "olmoe qwen3 mixtral" (default: all)
#     MOERING_LIMIT     seconds for all of it (default 470)
#     MOERING_SECONDS   for each figure (default 1)
#     MOERING_TRACE     a recorded .mtrace, for the models of its shape; the others get a synthetic one
#     MOERING_ARCHITECTURES   of CMAKE_CUDA_ARCHITECTURES (default native)
#     MOERING_COMMIT    what is measured, where there is no git
#     MOERING_BUILD     build folder (default build/gpu), which also keeps what earlier phases found:
#                       a run may be cut into several by MOERING_PHASES and MOERING_MODELS
# Each phase has its own limit; one that fails or overruns is reported and the next one begins. The
# table is written anew after each. Exits 0 if all phases were done and all tests passed.
# shellcheck disable=SC2317  # the commands of phases are functions called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2

out=${1:-${OUT:-build/gpu/out}}
build=${MOERING_BUILD:-build/gpu}
phases=${MOERING_PHASES:-build check figures peer sanitize}
models=${MOERING_MODELS:-olmoe qwen3 mixtral}
seconds=${MOERING_SECONDS:-1}
end=$((SECONDS + ${MOERING_LIMIT:-470}))
PATH=$PATH:/usr/local/cuda/bin
export PYTHONDONTWRITEBYTECODE=1
bad=0

mkdir -p "$out" "$build/run" || exit 2
out=$(cd "$out" && pwd)
build=$(cd "$build" && pwd)
run=$build/run
: >"$out/log.txt"

say() { echo "[${SECONDS}s] $*" | tee -a "$out/log.txt"; }
wanted() { case " $phases " in *" $1 "*) true ;; *) false ;; esac; }
note_phase() {
    printf '{"phase": "%s", "status": "%s", "seconds": %d}\n' "$1" "$2" "$3" >>"$run/phases.jsonl"
    python3 tests/gpu/results.py "$run" --json "$out/results.json" --markdown "$out/RESULTS.md"
}

# phase NAME LIMIT COMMAND...: within what is left; its status is its command's. The commands are
# functions of this file, run by a shell of their own that timeout can stop.
phase() {
    local name=$1 limit=$2 begin=$SECONDS status='done' code
    shift 2
    if [ "$limit" -gt $((end - SECONDS)) ]; then limit=$((end - SECONDS)); fi
    if [ "$limit" -le 5 ]; then
        say "$name: left out, no time left"
        note_phase "$name" "out of time" 0
        bad=1
        return 1
    fi
    say "$name: begins, $limit s at most"
    timeout -k 5 "$limit" bash -c '"$@"' phase "$@" >"$run/$name.log" 2>&1
    code=$?
    if [ $code -ge 124 ] && [ $((SECONDS - begin)) -ge "$limit" ]; then
        status="stopped after $limit s"
    elif [ $code != 0 ]; then
        status="failed with $code"
    fi
    if [ "$status" != "done" ]; then
        bad=1
        tail -n 30 "$run/$name.log"
        tail -n 300 "$run/$name.log" >>"$out/log.txt"
    fi
    say "$name: $status, $((SECONDS - begin)) s"
    note_phase "$name" "$status" $((SECONDS - begin))
    return "$code"
}

# ---- build ----

# CUDA's compiler may have come without cuBLAS while PyTorch brought its own: use that one then.
cublas_flags=
find_cublas() {
    local root found
    root=$(dirname "$(dirname "$(command -v nvcc)")")
    if find -L "$root" -maxdepth 4 -name 'libcublas.so' 2>/dev/null | grep -q .; then return; fi
    found=$(python3 -c 'import glob, site, sys
for folder in site.getsitepackages() + sys.path:
    for name in sorted(glob.glob(folder + "/nvidia/*/lib/libcublas.so.*")):
        print(name)' 2>/dev/null | head -n 1)
    if [ -z "$found" ]; then
        say "no cuBLAS beside $root nor in Python's packages: the build will say so"
        return
    fi
    mkdir -p "$build/cublas"
    ln -sf "$found" "$build/cublas/libcublas.so"
    ln -sf "$(find "$(dirname "$found")" -name 'libcublasLt.so.*' | head -n 1)" \
        "$build/cublas/libcublasLt.so"
    CPATH=$(dirname "$(dirname "$found")")/include${CPATH:+:$CPATH}
    LD_LIBRARY_PATH=$(dirname "$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    cublas_flags="-DCUDA_cublas_LIBRARY=$build/cublas/libcublas.so
        -DCUDA_cublasLt_LIBRARY=$build/cublas/libcublasLt.so"
    export CPATH LD_LIBRARY_PATH cublas_flags
    say "cuBLAS: $found"
}

configure() {
    local generator=()
    if command -v ninja >/dev/null; then generator=(-G Ninja); fi
    # shellcheck disable=SC2086  # words
    cmake -S . -B "$build" ${generator[@]+"${generator[@]}"} -DMOERING_SERVER=OFF \
        -DMOERING_TESTS_GPU=ON -DMOERING_CUDA=ON \
        -DCMAKE_CUDA_ARCHITECTURES="${MOERING_ARCHITECTURES:-native}" \
        -DCMAKE_PREFIX_PATH="${MOERING_BUNDLE:+$(cd "$MOERING_BUNDLE" && pwd)}" \
        ${cublas_flags:-}
}

# Only what this script runs, and as much of it as compiles.
compile() {
    local targets keep_going=-k
    if [ -e "$build/build.ninja" ]; then keep_going="-k 0"; fi
    targets=$(cmake --build "$build" --target help | grep -oE \
        '\b(test_memory_cuda|test_engine_backend_cuda|test_engine_device)_[a-z0-9_]+' | sort -u)
    # shellcheck disable=SC2086  # words
    cmake --build "$build" -j "$(nproc)" --target make_random_model bench_gpu $targets \
        -- $keep_going
}

# ---- correctness ----

check() {
    rm -f "$run/ctest.xml"
    (cd "$build" && ctest -L cuda -j 4 --timeout 100 --output-on-failure \
        --output-junit "$run/ctest.xml")
}

# One tool over the small kernels' tests; where it does not work at all, the first of them shows it.
sanitize() {
    local tool=$1 name text status code=0
    for name in norm rope embed combine gather kv_write route slots; do
        text=$(MOERING_SOURCE_DIR=$PWD timeout -k 5 40 compute-sanitizer --tool "$tool" \
            "$build/tests/test_engine_backend_cuda_$name" 2>&1)
        echo "$text"
        case "$text" in
        *"ERROR SUMMARY: 0 errors"* | *"RACECHECK SUMMARY: 0 hazards"*) status=clean ;;
        *"SUMMARY: "*) status=errors ;;
        *"not supported"* | *"nitialization"* | *"No such file"*) status=unusable ;;
        *) status="no summary" ;;
        esac
        printf '{"tool": "%s", "test": "%s", "status": "%s"}\n' "$tool" "$name" "$status" \
            >>"$run/sanitizer.jsonl"
        if [ "$status" = unusable ]; then return 0; fi
        if [ "$status" != clean ]; then code=1; fi
    done
    return "$code"
}

# ---- figures ----

# A folder in memory if one has room for the largest model, so that storage is not what is measured.
model_folder() {
    local free
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "${free:-0}" -ge 24 ]; then
        mktemp -d /dev/shm/moering-gpu.XXXXXX
    else
        mktemp -d
    fi
}

shape_of() { # layers, experts, top-k of what is measured
    case "$1" in
    olmoe) echo 16 64 8 ;;
    qwen3) echo 12 128 8 ;;
    mixtral) echo 6 8 2 ;;
    *) return 1 ;;
    esac
}

# prepare NAME FOLDER: weights and trace.
prepare() {
    local layers experts top_k
    read -r layers experts top_k <<<"$(shape_of "$1")"
    "$build/tests/gpu/make_random_model" "$1" --layers "$layers" "$2/$1" || return 1
    if [ -n "${MOERING_TRACE:-}" ] && python3 -c 'import json, sys
header = json.loads(open(sys.argv[1], "rb").readline())
sys.exit(header["experts"] != int(sys.argv[2]) or header["top_k"] < int(sys.argv[3]))' \
        "$MOERING_TRACE" "$experts" "$top_k"; then
        cp "$MOERING_TRACE" "$2/$1.mtrace"
    else
        python3 tests/gpu/make_trace.py --layers "$layers" --experts "$experts" --top-k "$top_k" \
            --tokens 4096 --check --out "$2/$1.mtrace"
    fi
}

# All parts in one process; if it dies, those not begun yet in another one.
measure() {
    local name=$1 folder=$2 limit=$3 begin=$SECONDS file=$run/figures-$1.jsonl
    local parts part code before=
    rm -f "$file"
    for ((;;)); do
        parts=
        for part in floors decode rings prefill exact; do
            if ! grep -q "\"part\": \"$part\"" "$file" 2>/dev/null; then parts=$parts,$part; fi
        done
        if [ -z "$parts" ]; then return "${code:-0}"; fi
        if [ "$parts" = "$before" ]; then return 1; fi # it did not even begin
        before=$parts
        if "$build/tests/gpu/bench_gpu" --name "$name" --model "$folder/$name" \
            --trace "$folder/$name.mtrace" --out "$file" --parts "${parts#,}" \
            --seconds "$seconds" --limit $((limit - SECONDS + begin - 8)); then
            return "${code:-0}"
        fi
        code=1
    done
}

peer() {
    rm -f "$run/peer-$1.jsonl"
    python3 tests/gpu/peer_transformers.py --name "$1" --model "$2/$1" \
        --out "$run/peer-$1.jsonl" --seconds "$seconds" --limit 40
}

figures() {
    local name
    for name in $models; do
        if ! shape_of "$name" >/dev/null; then
            say "no model $name (olmoe, qwen3, mixtral)"
            bad=1
            continue
        fi
        folder=$(model_folder)
        if phase "model-$name" 60 prepare "$name" "$folder"; then
            if wanted figures; then phase "figures-$name" 85 measure "$name" "$folder" 85; fi
            if wanted peer; then phase "peer-$name" 50 peer "$name" "$folder"; fi
        fi
        rm -rf "$folder"
    done
}

# ---- all of it ----

describe() {
    local query
    query=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
    commit=${MOERING_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null)} gpu=${query%%,*} \
        driver=${query##*, } python3 -c 'import datetime, json, os
get = os.environ.get
print(json.dumps({"date": datetime.date.today().isoformat(), "gpu": get("gpu"),
                  "driver": get("driver"), "commit": get("commit"),
                  "host": "%d processors" % os.cpu_count()}))' >"$run/machine.json"
    cat "$run/machine.json"
}

export -f configure compile check sanitize prepare shape_of measure peer
export build run seconds
trap 'rm -rf "${folder:-}"' EXIT

describe | tee -a "$out/log.txt"
if wanted build; then
    find_cublas
    phase configure 60 configure
    phase build 240 compile
fi
if wanted check; then phase check 110 check; fi
if wanted figures || wanted peer; then figures; fi
if wanted sanitize; then
    rm -f "$run/sanitizer.jsonl"
    for tool in memcheck racecheck; do phase "$tool" 60 sanitize "$tool"; done
fi
if [ -f "$run/ctest.xml" ]; then cp "$run/ctest.xml" "$out"; fi
say "results: $out/RESULTS.md"
exit $bad
