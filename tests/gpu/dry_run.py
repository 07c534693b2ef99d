#!/usr/bin/env python3
"""The whole chain of run.sh without a GPU: tiny models of all three kinds, traces for them, bench_gpu on
the host double of CUDA, and the table. Speeds mean nothing here; what is checked is that every figure
of the table is there, positive and not 'not measured', so that time on a GPU is not wasted.

    dry_run.py MAKE_RANDOM_MODEL BENCH_GPU        (run by ctest)"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import results  # pylint: disable=wrong-import-position

LAYERS, EXPERTS, TOP_K = 2, 8, 2
SHAPE = ["--layers", LAYERS, "--hidden", 32, "--heads", 2, "--kv-heads", 1, "--head-dim", 16,
         "--experts", EXPERTS, "--top-k", TOP_K, "--width", 16, "--vocab", 64, "--context", 1400]
SMALL = ["--seconds", 0, "--rounds", 3, "--decode", 1, "--batches", "1,2", "--prompts", "8,17",
         "--gemm", 16, "--probe-mib", 1, "--batch-tokens", 16, "--warm", 4, "--opening", 4,
         "--threads", 1]


def run(*words):
    subprocess.run([str(w) for w in words], check=True)


def measure(make_model, bench, folder, name, trace):
    model = os.path.join(folder, name)
    run(make_model, name, *SHAPE, model)
    run(bench, "--name", name, "--model", model, "--trace", trace, "--out",
        os.path.join(folder, "figures.jsonl"), *SMALL)


def check_figures(collected):
    """Every figure of a small run, each with the numbers the table takes from it."""
    wanted = ["floors", "decode.resident.b1", "decode.resident.b2", "prefill.8", "prefill.17",
              "prefill.quarter.8", "prefill.quarter.17", "exact.decode.b1", "exact.prefill"]
    wanted += ["decode.%s.%g" % (how, share) for how in ("auto", "device")
               for share, _ in results.SHARES]
    for name, _ in results.MODELS:
        figures = collected["models"][name]["figures"]
        missing = [w for w in wanted if w not in figures]
        assert not missing, "%s: missing %s" % (name, missing)
        for key, figure in figures.items():
            rate = figure.get("read_gb_s" if key == "floors" else "tokens_per_s", 0)
            assert rate > 0, "%s: %s: %s" % (name, key, figure)
            if key.startswith("decode.") and not key.startswith("decode.resident"):
                assert figure["ratio"] > 0, figure
        assert figures["decode.resident.b1"]["misses"] == 0, "resident, but pages were missing"
        assert figures["decode.device.12.5"]["copied_mb"] > 0, "a small ring copied nothing"
    assert not collected["left_out"], collected["left_out"]


def check_table(folder, collected):
    """With the names of a real run no row of a model's figures may stay empty."""
    for model in collected["models"].values():
        figures = model["figures"]
        for small, real in (("b2", "b8"), ("b2", "b32")):
            figures["decode.resident." + real] = figures["decode.resident." + small]
        for tokens in results.PROMPTS:
            figures["prefill.%d" % tokens] = figures["prefill.17"]
            figures["prefill.quarter.%d" % tokens] = figures["prefill.quarter.17"]
        figures["floors"].update(gemm_attention_tflops=1.0, gemm_expert_tflops=1.0)
    empty = [line for line in results.markdown(collected).splitlines()
             if results.NOT_MEASURED in line and not line.startswith(
                 ("| transformers", "| tests on", "| compute-sanitizer"))]
    assert not empty, "\n".join(empty)
    path = os.path.join(folder, "results.json")
    with contextlib.redirect_stdout(None):
        run(sys.executable, os.path.join(HERE, "results.py"), folder, "--json", path, "--markdown",
            os.path.join(folder, "RESULTS.md"))
    with open(path, encoding="utf-8") as f:
        assert set(json.load(f)["models"]) == {name for name, _ in results.MODELS}


def check_committed(folder):
    """The table in the tree is what results.py writes of its JSON, or of nothing."""
    with open(os.path.join(HERE, "RESULTS.md"), encoding="utf-8") as f:
        committed = f.read()
    measured = os.path.join(HERE, "results.json")
    if os.path.exists(measured):
        with open(measured, encoding="utf-8") as f:
            assert committed == results.markdown(json.load(f)), "RESULTS.md is not of results.json"
    else:
        empty = os.path.join(folder, "empty")
        os.mkdir(empty)
        assert committed == results.markdown(results.collect(empty)), "RESULTS.md is edited by hand"


def main():
    make_model, bench = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        check_committed(folder)
        trace = os.path.join(folder, "trace.mtrace")
        run(sys.executable, os.path.join(HERE, "make_trace.py"), "--layers", LAYERS, "--experts",
            EXPERTS, "--top-k", TOP_K, "--tokens", 200, "--out", trace)
        for name, _ in results.MODELS:
            measure(make_model, bench, folder, name, trace)
        collected = results.collect(folder)
        check_figures(collected)
        check_table(folder, collected)
    print("every figure and every row is there")


if __name__ == "__main__":
    main()
