"""moering bench as a user types it, on the built-in model.

    bench_test.py MOERING
"""
import json
import os
import subprocess
import sys
import tempfile

from grpc_wire import run_cases
from moering_wire import TINY

MOERING = sys.argv[1]
LAYERS, HIDDEN, KV_HEADS, HEAD_DIM, TOP_K, VOCAB = 6, 128, 2, 32, 4, 512
EXPERT_PARAMS = 3 * HIDDEN * 64


def run(*args, code=0):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}
    r = subprocess.run([MOERING, "bench", *map(str, args)], capture_output=True, text=True,
                       timeout=250, env=environment, check=False)
    assert r.returncode == code, (r.returncode, args, r.stdout[-500:], r.stderr[-2000:])
    return r


def bench(*args):
    return json.loads(run(TINY, "-o", "json", *args).stdout)


def prints_tests_in_order(_):
    got = bench("-p", "8,16", "-n", 4, "-b", "1,3", "-pg", "8,2", "-d", "0,5", "-r", 2)
    tests = [(t["n_prompt"], t["n_gen"], t["n_sequences"], t["n_depth"]) for t in got]
    one = [(8, 0, 1), (16, 0, 1), (0, 4, 1), (0, 4, 3), (8, 2, 1)]
    assert tests == [t + (d,) for d in (0, 5) for t in one], tests
    for t in got:
        tokens = (t["n_prompt"] + t["n_gen"]) * t["n_sequences"]
        assert len(t["samples_ns"]) == len(t["samples_ts"]) == 2
        for ns, ts in zip(t["samples_ns"], t["samples_ts"]):
            assert abs(ts - tokens * 1e9 / ns) < 1e-6 * ts
        assert abs(t["avg_ts"] - sum(t["samples_ts"]) / 2) < 1e-6 * t["avg_ts"]
        assert min(t["samples_ts"]) == t["min_ts"] <= t["median_ts"] <= t["max_ts"]
        assert t["hits"] > 0 and t["misses"] <= t["hits"] / 50, "all experts fit"
        assert t["model_filename"] == TINY and t["model_n_params"] > t["model_n_params_active"] > 0


def bounds_stand_beside_the_figures(_):
    t = bench("-p", 0, "-n", 8, "-r", 1, "-t", 1)[0]
    assert t["n_threads"] == 1
    assert t["memory_bytes_per_s"] > 1e8 and t["int8_ops_per_s"] > 1e8 and t["f32_ops_per_s"] > 1e8
    assert t["bound_by"] in ("memory", "arithmetic", "storage")
    assert (t["storage_bytes_per_s"] is None) == (t["storage_bytes"] == 0)
    assert abs(t["share_of_bound"] - t["median_ts"] / t["bound_ts"]) < 1e-6 * t["share_of_bound"]
    # A token reads each dense weight but the embedding table, its experts and some KV once.
    dense = 2 * (t["model_n_params_active"] - LAYERS * TOP_K * EXPERT_PARAMS - VOCAB * HIDDEN)
    least = dense + LAYERS * TOP_K * 2 * EXPERT_PARAMS
    kv = LAYERS * 2 * KV_HEADS * HEAD_DIM * 4
    assert least <= t["bytes_per_token"] <= 1.02 * least + 8 * kv, (least, t["bytes_per_token"])
    least = 2 * (t["model_n_params_active"] - VOCAB * HIDDEN)
    assert least <= t["operations_per_token"] <= 1.1 * least, (least, t["operations_per_token"])


def paged_experts_are_counted(_):
    t = bench("-p", 0, "-n", 64, "-r", 2, "--device-experts", "25%", "--prefetch", "off")[0]
    page = t["miss_bytes"] / t["misses"]
    assert t["n_slots"] == t["n_pages"] // 4 and t["misses"] > 0
    assert t["storage_bytes"] == t["miss_bytes"] and page == int(page), "each miss is read once"
    assert abs(t["hit_rate"] - t["hits"] / (t["hits"] + t["misses"])) < 1e-9
    assert t["stall_ns_per_token"] > 0
    assert t["belady_window"] > 0 and t["belady_hit_rate"] >= t["belady_window_hit_rate"]
    text = run(TINY, "-p", 0, "-n", 16, "-r", 1, "--device-experts", "25%").stdout
    assert "| hits | Belady |" in text and "tg16" in text and "experts:" in text


def routing_follows_a_trace(_):
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "one.mtrace")
        header = {"format": "moering-trace", "version": 1, "model": "", "layers": 1, "experts": 64,
                  "top_k": 1, "tokens": 1, "dtype": "u8", "phase": "", "source": "",
                  "requests": [{"tokens": 1, "label": ""}]}
        with open(trace, "wb") as f:
            f.write(json.dumps(header).encode() + b"\n" + b"\x05")
        # One choice for ever: top-k experts of each layer, filled up in order, always the same.
        t = bench("-p", 0, "-n", 32, "-r", 1, "--device-experts", "25%", "--prefetch", "off",
                  "--route-trace", trace)[0]
        assert t["misses"] == 0 and t["hits"] > 0, (t["hits"], t["misses"])
        assert t["route_trace"] == trace and t["route_trace_experts"] == 64
        text = run(TINY, "-p", 0, "-n", 4, "-r", 1, "--route-trace", trace).stdout
        assert "routing: " + trace in text and "folded onto" in text


def wrong_words_are_refused(_):
    for args, words in ((("-p", "x"), "--n-prompt"), (("-n", "1,,2"), "--n-gen"),
                        (("-pg", "5"), "--prompt-gen"), (("-b", "0"), "--sequences"),
                        (("-p", "0", "-n", "0"), "nothing to measure"),
                        (("--prompt", "hello"), "--prompt"), (("-r", "0"), "--repetitions"),
                        (("-o", "csv"), "--output")):
        r = run("/nowhere", *args, code=2)
        assert words in r.stderr and "/nowhere" not in r.stderr, r.stderr
    r = run(TINY, "-n", 4, "-p", 0, "--route-trace", "/nowhere", code=1)
    assert "/nowhere" in r.stderr
    r = run(TINY, "-b", 8, "-np", 4, code=1)
    assert "--max-num-seqs 4" in r.stderr, r.stderr


def measures_the_machine(_):
    model = os.path.join(TINY, "model.safetensors")
    got = json.loads(run("machine", model, "-o", "json", "-t", 1).stdout)
    rates = {}
    for r in got["rates"]:
        assert r["rate"] > 0, r
        rates.setdefault(r["what"], []).append(r)
    assert len(rates["memory"]) == 1 and len(rates["f32"]) == 1 and len(rates["int8"]) == 1
    assert [r["threads"] for r in rates["storage"]] == [1, 2, 4, 8, 16]
    assert {r["how"].split()[0] for r in rates["kernel"]} >= {"F32", "BF16", "Q8_0", "Q4_0"}
    assert "| memory | read | 1 |" in run("machine", "-t", 1).stdout
    assert "nowhere" in run("machine", "/nowhere", code=1, *("-t", 1)).stderr


if __name__ == "__main__":
    sys.exit(run_cases([prints_tests_in_order, bounds_stand_beside_the_figures,
                        paged_experts_are_counted, routing_follows_a_trace, wrong_words_are_refused,
                        measures_the_machine], None))
