#!/usr/bin/env bash
# The fast track: builds Release and prints the figures as JSON, each beside its bound.
#
#     tests/bench/run.sh [MODEL]      default: the built-in model
#
# Machines are noisy: compare two builds by running them in turn and quoting medians and ratios. For a
# figure free of noise count instructions:
#     valgrind --tool=callgrind build/release/tests/bench/bench_engine MODEL --rounds 1 --threads 1
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${MOERING_BUILD:-$PWD/build}/release
cmake --preset release -B "$build" >/dev/null
ninja -C "$build" --quiet bench_kernels bench_experts bench_attention bench_engine bench_sampler \
    bench_policy >&2
"$build/tests/bench/bench_kernels"
"$build/tests/bench/bench_experts"
"$build/tests/bench/bench_attention"
"$build/tests/bench/bench_engine" "${1:-deploy/models/tiny}"
"$build/tests/bench/bench_sampler"
"$build/tests/bench/bench_policy"
