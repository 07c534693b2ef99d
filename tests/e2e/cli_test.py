"""The command lines of moering and moering-client as a user types them.

    cli_test.py MOERING MOERING_CLIENT
"""
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from grpc_wire import run_cases
from moering_wire import Server, TINY, health_pb, pb

MOERING, CLIENT = sys.argv[1:3]
PROMPT = "Q: What is 12 + 34?\nA:"


def run(program, *args, code=0, env=None, stdin=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}
    environment.update(env or {})
    r = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60,
                       env=environment, input=stdin, check=False)
    assert r.returncode == code, (r.returncode, args, r.stdout[-500:], r.stderr[-2000:])
    return r


def answer(*args, **kw):
    return json.loads(run(MOERING, "run", TINY, "--json", "--temperature", 0, *args, **kw).stdout)


# ---- moering run ----

def run_prints_the_text(_):
    a = answer("-p", PROMPT, "-n", 12)
    r = run(MOERING, "run", TINY, "-p", PROMPT, "-n", 12, "--temperature", 0)
    assert r.stdout == a["text"] + "\n"
    assert "tokens/s" in r.stderr and "hits" in r.stderr


def run_prints_json(_):
    a = answer("-p", PROMPT, "-n", 12, "--device-experts", "25%")
    assert a["finish_reason"] == "stop" and len(a["tokens"]) == a["usage"]["completion_tokens"]
    assert len(a["prompt_token_ids"]) == a["usage"]["prompt_tokens"]
    e = a["usage"]["experts"]
    assert e["hits"] + e["misses"] > 0 and e["bytes"] > 0 and 0 <= a["hit_rate"] <= 1
    assert a["model"]["device_slots"] == a["model"]["pages"] // 4
    assert a["tokens_per_s"] > 0


def run_takes_a_batch(_):
    prompts = ["Q: What is %d + 4?\nA:" % i for i in (30, 41, 52)]
    flags = [x for p in prompts for x in ("-p", p)]
    together = answer(*flags, "-n", 10)
    assert [a["tokens"] for a in together] == [answer("-p", p, "-n", 10)["tokens"] for p in prompts]


def run_takes_ids(_):
    by_text = answer("-p", PROMPT, "-n", 6, "--ignore-eos")
    ids = ",".join(map(str, by_text["prompt_token_ids"]))
    assert answer("--tokens", ids, "-n", 6, "--ignore-eos")["tokens"] == by_text["tokens"]
    pair = answer("--tokens", ids + ";5,6,7", "-n", 3)
    assert pair[0]["tokens"] == by_text["tokens"][:3] and pair[1]["prompt_token_ids"] == [5, 6, 7]
    for wrong in ("1,,2", "x", "1 2", "-1", ""):
        r = run(MOERING, "run", "/nowhere", "--tokens", wrong, code=2)
        assert "--tokens" in r.stderr and "/nowhere" not in r.stderr, r.stderr
    r = run(MOERING, "run", TINY, "--tokens", "1,99999", "-n", 3, code=1)
    assert "token 99999 at position 1 is outside the vocabulary of 512" in r.stderr, r.stderr
    r = run(MOERING, "run", TINY, "--tokens", "1,2;99999", "-n", 3, code=1)
    assert "token 99999 at position 0" in r.stderr, r.stderr


def logits(*args):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "logits.f32")
        a = answer("--logits-out", path, *args)
        with open(path, "rb") as f:
            return a, f.read()


def run_writes_logits(_):
    a, whole = logits("-p", PROMPT, "-n", 5, "--ignore-eos")
    vocab = a["model"]["vocab"]
    positions = a["usage"]["prompt_tokens"] + 5 - 1
    assert len(whole) == 4 * vocab * positions
    last = struct.unpack("<%df" % vocab, whole[-4 * vocab:])
    assert last.index(max(last)) == a["tokens"][-1]
    _, prompt_only = logits("-p", PROMPT, "-n", 0)
    assert whole.startswith(prompt_only) and len(prompt_only) == 4 * vocab * (positions - 4)
    for flags in (["--chunk", 1], ["--chunk", 3], ["--chunk", 7], ["--threads", 1],
                  ["--device-experts", 5, "--prefetch", "off"], ["--io", "sync"],
                  ["--device-experts", 9, "--policy", "random", "--prefetch", "on"],
                  ["--device-experts", 20, "--predictor", "lookahead", "--prefetch", "on"],
                  ["--device-experts", "50%", "--stream-layers", 2]):
        _, same = logits("-p", PROMPT, "-n", 5, "--ignore-eos", *flags)
        assert same == whole, flags


def run_obeys_its_flags(_):
    whole = answer("-p", PROMPT, "-n", 12)["text"]
    assert answer("-p", PROMPT, "-n", 12, "--stop", whole[1:])["text"] == whole[:1]
    assert len(answer("-p", PROMPT, "-n", 12, "--ignore-eos")["tokens"]) == 12
    assert len(answer("-p", PROMPT, "-n", 12, "--min-tokens", 10)["tokens"]) >= 10

    def draw(seed):
        return answer("-p", "Once", "-n", 40, "--ignore-eos", "--temperature", "3", "--seed",
                      seed)["tokens"]
    assert draw(1) == draw(1) != draw(2)
    for words, says in (((), "--prompt"), (("-p", "x", "--tokens", "1"), "not both"),
                        (("-p", "x", "--top-p", "0"), "--top-p: '0'"),
                        (("-p", "x", "--stop", ""), "--stop: ''")):
        r = run(MOERING, "run", TINY, *words, code=2)
        assert says in r.stderr, (words, r.stderr)
    # Before the model: a wrong path is found although there is no such model either.
    r = run(MOERING, "run", "/nomodel", "-p", "x", "--logits-out", "/nowhere/x", code=1)
    assert "--logits-out /nowhere/x" in r.stderr and "/nomodel" not in r.stderr, r.stderr
    r = run(MOERING, "run", TINY, "-p", "x" * 3000, code=1)
    assert "--max-model-len" in r.stderr, r.stderr
    small = ("-p", "x", "-n", 1, "--device-experts", "25%", "--stream-layers")
    r = run(MOERING, "run", TINY, *small, 2, code=1)
    assert "\nmoering: --stream-layers 2: the expert slots hold at most 1 " in "\n" + r.stderr, r
    for fits in (1, "off", "auto"):
        run(MOERING, "run", TINY, *small, fits)


def a_model_without_tokenizer_takes_ids(_):
    folder = tempfile.mkdtemp(prefix="moering-ids-")
    try:
        for name in ("config.json", "model.safetensors", "generation_config.json"):
            shutil.copy(os.path.join(TINY, name), folder)
        r = run(MOERING, "run", folder, "--tokens", "1,2,3", "-n", 4, "--json", "--ignore-eos")
        assert len(json.loads(r.stdout)["tokens"]) == 4
        r = run(MOERING, "run", folder, "-p", "x", code=1)
        assert "tokenizer.json" in r.stderr
    finally:
        shutil.rmtree(folder)


# ---- the other commands ----

def inspect_reads_headers_only(_):
    x = json.loads(run(MOERING, "inspect", TINY, "--json").stdout)
    assert x["architecture"] == "qwen3_moe" and x["layers"] * x["experts"] == x["pages"]
    assert sum(c["pages"] for c in x["page_classes"]) == x["pages"]
    assert x["active_parameters"] < x["parameters"]
    text = run(MOERING, "inspect", TINY).stdout
    assert "architecture    qwen3_moe" in text and "class 0" in text
    r = run(MOERING, "inspect", "/nowhere", code=1)
    assert "/nowhere" in r.stderr


def tokenize_prints_ids(_):
    ids = run(MOERING, "tokenize", TINY, PROMPT).stdout.split()
    assert [int(i) for i in ids] == answer("-p", PROMPT, "-n", 1)["prompt_token_ids"]
    assert run(MOERING, "tokenize", TINY, "", code=0).stdout == "\n"
    assert run(MOERING, "tokenize", "--model", TINY, stdin=PROMPT).stdout.split() == ids
    both = json.loads(run(MOERING, "tokenize", TINY, PROMPT, "--json").stdout)
    assert both["tokens"] == [int(i) for i in ids] and len(both["entries"]) == len(ids)


def the_builtin_model_is_found(_):
    r = run(MOERING, "inspect", "--json", env={"MOERING_BUILTIN_MODEL": TINY})
    assert json.loads(r.stdout)["path"] == TINY
    r = run(MOERING, "inspect", env={"MOERING_BUILTIN_MODEL": "/nowhere"}, code=1)
    assert "MOERING_BUILTIN_MODEL" in r.stderr
    # Beside a copy of the program that lies in a checkout, without any variable.
    with tempfile.TemporaryDirectory() as root:
        root = os.path.realpath(root)
        os.makedirs(os.path.join(root, "deploy/models"))
        os.symlink(TINY, os.path.join(root, "deploy/models/tiny"))
        os.makedirs(os.path.join(root, "build/x/bin"))
        copy = shutil.copy(MOERING, os.path.join(root, "build/x/bin/moering"))
        found = json.loads(run(copy, "inspect", "--json").stdout)["path"]
        assert found == os.path.join(root, "deploy/models/tiny"), found


def lost_output_is_a_failure(_):
    cases = (("run", TINY, "-p", "hi", "-n", 5), ("run", TINY, "-p", "hi", "-n", 5, "--json"),
             ("run", TINY, "-p", "hi", "-p", "ho", "-n", 5), ("inspect", TINY),
             ("inspect", TINY, "--json"), ("tokenize", TINY, "hi"), ("--help",), ("version",),
             ("serve", "--help"), ("tokenize", "--help"))
    with open("/dev/full", "w", encoding="utf-8") as full:
        for words in cases:
            r = subprocess.run([MOERING, *map(str, words)], stdout=full, stderr=subprocess.PIPE,
                               text=True, timeout=60, check=False)
            lines = [x for x in r.stderr.splitlines() if x.startswith("moering: ")]
            assert r.returncode == 1, (words, r.returncode, r.stderr)
            assert lines == ["moering: standard output: No space left on device"], (words, r.stderr)
    r = run(MOERING, "run", TINY, "-p", "hi", "-n", 2, "--logits-out", "/dev/full", code=1)
    assert "--logits-out /dev/full: No space left" in r.stderr, r.stderr


def stray_variables_are_told(_):
    strays = {"MOERING_MAX_NUM_SEQ": "3", "MOERING_SOURCE_DIR": "/x", "MOERING_MAX_NUM_SEQS": "3"}
    for words in (("inspect", TINY), ("run", TINY, "-p", "x", "-n", 1), ("serve", "/nowhere")):
        r = run(MOERING, *words, env=strays, code=1 if words[0] == "serve" else 0)
        warnings = [x for x in r.stderr.splitlines() if " is ignored: " in x]
        assert len(warnings) == 1 and " WARN " in warnings[0], r.stderr
        assert "MOERING_MAX_NUM_SEQ is" in warnings[0], r.stderr
        assert warnings[0].endswith("did you mean MOERING_MAX_NUM_SEQS?"), r.stderr


def signals_end_a_load_at_once(_):
    """A pipe without a writer in place of tokenizer.json: opening the model never ends."""
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir(TINY):
            if name != "tokenizer.json":
                shutil.copy(os.path.join(TINY, name), folder)
        os.mkfifo(os.path.join(folder, "tokenizer.json"))
        for number in (signal.SIGTERM, signal.SIGINT):
            server = Server(MOERING, model=folder, wait=False)
            watch = server.stub.watch(health_pb.HealthCheckRequest(), timeout=60)
            assert next(watch).status == health_pb.HealthCheckResponse.NOT_SERVING
            time.sleep(0.5)
            assert server.process.poll() is None, server.log
            start = time.monotonic()
            server.process.send_signal(number)
            assert server.wait_exit(20) == 0, server.log
            assert time.monotonic() - start < 5, "the load was waited for"
            told = [x for x in server.log if "shutting down: the model is still being loaded" in x]
            assert len(told) == 1 and server.log[-1] == told[0], server.log


def routing_is_recorded(_):
    with tempfile.TemporaryDirectory() as folder:
        path, png = os.path.join(folder, "a.mtrace"), os.path.join(folder, "a.png")
        flags = [x for i in (30, 41, 52) for x in ("-p", "Q: What is %d + 4?\nA:" % i)]
        answers = answer(*flags, "-n", 10, "--ignore-eos", "--device-experts", "25%",
                         "--trace-out", path)
        assert os.listdir(folder) == ["a.mtrace"]
        x = json.loads(run(MOERING, "trace", "info", path, "--json", "--png", png).stdout)
        model = json.loads(run(MOERING, "inspect", TINY, "--json").stdout)
        assert all(x[k] == model[k] for k in ("layers", "experts", "top_k")), x
        # The last token sampled is told and never computed.
        assert x["prefill_tokens"] == sum(a["usage"]["prompt_tokens"] for a in answers)
        assert x["decode_tokens"] == sum(a["usage"]["completion_tokens"] - 1 for a in answers)
        assert x["requests"] == 3 and x["columns"] == ["step", "lookahead", "lookahead"] and x["steps"] >= 10
        uses = sum(sum(layer["uses"]) for layer in x["per_layer"])
        assert uses == x["tokens"] * x["layers"] * x["top_k"]
        with open(png, "rb") as f:
            assert f.read(8) == b"\x89PNG\r\n\x1a\n"
        text = run(MOERING, "trace", "info", path).stdout
        assert "tokens          %d: %d of prompts" % (x["tokens"], x["prefill_tokens"]) in text
        for words, code, says in ((("info",), 2, "needs a file"), ((), 2, "Usage"),
                                  (("inf", path), 2, "unknown word 'inf'"),
                                  (("info", "/nowhere"), 1, "/nowhere"),
                                  (("info", TINY), 1, "not a regular file"),
                                  (("predict", path), 1, "do not fill a tick"),
                                  (("predict", path, "--horizons", "10,1"), 1, "'10,1'"),
                                  (("recover", path), 1, "end in .part"),
                                  (("recover", path, "--png", "x"), 2, "--png")):
            r = run(MOERING, "trace", *words, code=code)
            assert says in r.stderr, (words, r.stderr)
        r = run(MOERING, "run", TINY, "-p", "x", "-n", 1, "--trace-out", "/nowhere/x", code=1)
        assert "/nowhere/x" in r.stderr, r.stderr
        log = os.path.join(folder, "log")
        with open(log, "w", encoding="utf-8") as f:
            f.write("not a trace\n")
        r = run(MOERING, "run", TINY, "-p", "x", "-n", 1, "--trace-out", log, code=1)
        assert "--trace-out: %s: it is there already and is not a trace" % log in r.stderr, r.stderr
        with open(log, encoding="utf-8") as f:
            assert f.read() == "not a trace\n"


def a_file_that_may_not_grow_costs_no_answer(_):
    """A limit on file sizes ends the recording, told once, and neither a run nor a server."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.mtrace")
        flags = (MOERING, "run", TINY, "-p", PROMPT, "-n", "200", "--ignore-eos", "--temperature", "0",
                 "--json")
        plain = run(*flags)
        r = subprocess.run([*flags, "--trace-out", path], preexec_fn=limit, text=True,
                           capture_output=True, timeout=60)
        assert r.returncode == 0, (r.returncode, r.stderr)
        assert r.stderr.count("recording stopped") == 1, r.stderr
        assert json.loads(r.stdout)["tokens"] == json.loads(plain.stdout)["tokens"]
        assert os.listdir(folder) == ["a.mtrace.part"], os.listdir(folder)
        server = Server(MOERING, "--trace-out", os.path.join(folder, "b.mtrace"))
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        for _ in range(2):
            run(CLIENT, "generate", "--connect", server.address, "-p", PROMPT, "-n", 200,
                "--ignore-eos")
        server.stop()
        assert len([x for x in server.log if "recording stopped" in x]) == 1, server.log


def a_predictor_without_prefetch_is_refused(_):
    for command in ("run", "serve"):
        r = run(MOERING, command, TINY, "--predictor", "previous", "--prefetch", "off", code=2)
        assert "--predictor: without effect with --prefetch off" in r.stderr, r.stderr


def who_computes_is_told_once(_):
    """With every GPU hidden, so that no machine has one; and only by what computes."""
    blind, one = {"CUDA_VISIBLE_DEVICES": ""}, ("run", TINY, "-p", PROMPT, "-n", 3)
    r = run(MOERING, *one, "-p", "x", env=blind)
    assert len(re.findall(r"^\S+ INFO computing on the CPU: \w.+$", r.stderr, re.M)) == 1, r.stderr
    for words in ((*one, "--device", "cpu"), (*one, "--log-level", "warn"), ("inspect", TINY),
                  ("tokenize", TINY, "x"), ("plan", TINY), ("run", "--help"), ("version",)):
        assert "computing on" not in run(MOERING, *words, env=blind).stderr, words
    for device in ("cuda", "cuda:1"):
        r = run(MOERING, *one, "--device", device, env=blind, code=1)
        assert re.fullmatch(r"moering: --device %s: \w.+\n" % device, r.stderr) and not r.stdout, r
    r = run(MOERING, "serve", TINY, "--port", 0, "--grpc-port", 0, "--device", "cuda", env=blind, code=1)
    assert len(re.findall(r"^.*--device cuda: .*$", r.stderr, re.M)) == 1, r.stderr
    assert r.stderr.splitlines()[-1].startswith("moering: --device cuda: "), r.stderr


def placement_without_a_gpu_is_refused(_):
    blind = {"CUDA_VISIBLE_DEVICES": ""}
    for command in (("run", TINY, "-p", PROMPT, "-n", 3), ("serve", TINY, "--grpc-port", 0)):
        for place in ("device", "host"):
            r = run(MOERING, *command, "--placement", place, env=blind, code=2)
            assert r.stderr.startswith(
                "moering: --placement: without effect where there is no GPU; leave it out ("), r
            r = run(MOERING, *command, "--device", "cpu", env={"MOERING_PLACEMENT": place}, code=2)
            assert r.stderr == ("moering: --placement: without effect with --device cpu; leave one "
                                "out\n"), r
    plain = answer("-p", PROMPT, "-n", 3, env=blind)["tokens"]
    assert answer("-p", PROMPT, "-n", 3, "--placement", "auto", "--deterministic",
                  env=blind)["tokens"] == plain
    assert "on the CPU it is always so" in " ".join(run(MOERING, "run", "-h").stdout.split())


def a_killed_recording_is_recovered(_):
    """kill -9 leaves what had reached the file: 64 rows or a step go out at a time."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.mtrace")
        part = path + ".part"
        process = subprocess.Popen(
            [MOERING, "run", TINY, "-n", "400", "--ignore-eos", "--trace-out", path] +
            ["-p", PROMPT] * 60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 50
        while process.poll() is None and time.monotonic() < end:
            if os.path.exists(part) and os.path.getsize(part) > 1 << 18:
                break
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert os.listdir(folder) == ["a.mtrace.part"], os.listdir(folder)
        r = run(MOERING, "trace", "info", part, code=1)
        assert "moering trace recover " + part in r.stderr, r.stderr
        run(MOERING, "trace", "recover", part)
        assert os.listdir(folder) == ["a.mtrace"]
        x = json.loads(run(MOERING, "trace", "info", path, "--json").stdout)
        assert x["tokens"] > 1000 and x["requests"] == 60, (x["tokens"], x["requests"])


def write_trace(path, layers=4, experts=16, top_k=2, tokens=400, extra=None):
    """Routing that repeats itself: each token keeps half of what the one before it chose."""
    state, ids, last = 1, bytearray(), [list(range(top_k)) for _ in range(layers)]
    for _ in range(tokens):
        for layer in range(layers):
            state = (state * 1103515245 + 12345) % 2**31
            if state >> 16 & 1:
                last[layer] = [(state >> 8) % experts, (state >> 8) % experts ^ 1]
            ids += bytes(last[layer])
    header = {"format": "moering-trace", "version": 1, "model": "synthetic", "layers": layers,
              "experts": experts, "top_k": top_k, "tokens": tokens, "dtype": "u8",
              "requests": [{"tokens": tokens // 4} for _ in range(4)]}
    header.update(extra or {})
    with open(path, "wb") as f:
        f.write(json.dumps(header).encode() + b"\n" + ids)
    return path


def a_trace_is_replayed(_):
    with tempfile.TemporaryDirectory() as folder:
        path = write_trace(os.path.join(folder, "a.mtrace"))

        def replay(*flags):
            return json.loads(run(MOERING, "replay", path, "--json", *flags).stdout)
        a = replay("--device-pages", 16)
        assert (a["tokens"], a["requests"], a["device_pages"]) == (400, 3200, 16), a
        assert a["hits"] + a["misses"] == 3200 and a["misses"] == a["demand_pages"]
        assert a["bytes"] == a["demand_pages"] * a["page_bytes"] == a["demand_bytes"]
        assert abs(a["stall_us_per_token"] * 400 - a["misses"] * a["page_us"]) < 1
        assert 0.3 < a["hit_rate"] <= a["belady_hit_rate"] < 1
        assert abs(a["belady_share"] - a["hit_rate"] / a["belady_hit_rate"]) < 1e-9
        assert a["decisions_per_s"] > 1000
        assert replay("--device-pages", "25%")["hits"] == a["hits"]
        assert replay("--device-pages", "192MiB")["hits"] == a["hits"]
        # Slower links and layers change times alone; what is shuffled hits less.
        slow = replay("--device-pages", 16, "--link-gbps", 2.5, "--step-us", 100)
        assert slow["hits"] == a["hits"] and abs(slow["page_us"] / a["page_us"] - 10) < 1e-6
        assert slow["layer_us"] == 25 and slow["tokens_per_s"] < a["tokens_per_s"]
        for how in ("tokens", "layers"):
            shuffled = replay("--device-pages", 16, "--shuffle", how, "--seed", 3)
            assert shuffled["hits"] < 0.8 * a["hits"], shuffled
            assert shuffled["hits"] == replay("--device-pages", 16, "--shuffle", how, "--seed",
                                              3)["hits"]
        batch = replay("--batch", 4)
        assert batch["steps"] == 100 and batch["requests"] < 3200
        assert replay("--max-trace-tokens", 30)["tokens"] == 30
        on = replay("--prefetch", "on", "--predictor", "previous", "--step-us", 100000)["prefetch"]
        errors = on["prediction_error"]
        assert set(errors) == {"transition", "previous"}, errors
        assert [x["distance"] for x in errors["previous"]] == [1, 2, 3]  # of 4 layers
        assert all(0 < x["recall"] < 1 and x["log_loss"] > 0 for x in errors["previous"]), errors
        assert on["issued"] == on["used"] + on["wasted"] > 0 and on["predictor"] == "previous", on
        text = run(MOERING, "replay", path).stdout
        assert "hit rate" in text and "of Belady" not in text and "tokens/s" in text
        one = write_trace(os.path.join(folder, "one.mtrace"), tokens=1,
                          extra={"requests": [{"tokens": 1}]})
        text = run(MOERING, "replay", one, "--device-pages", 8).stdout
        assert "Belady's 0.00 %, of which it is -; plain LRU's 0.00 %\n" in text, text


def a_recorded_run_is_replayed(_):
    """Steps and prompts as they were: the hits of the run itself are near those of its replay."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.mtrace")
        flags = [x for i in (30, 41, 52) for x in ("-p", "Q: What is %d + 4?\nA:" % i)]
        answer(*flags, "-n", 20, "--ignore-eos", "--trace-out", path)
        x = json.loads(run(MOERING, "replay", path, "--batch", "trace", "--json").stdout)
        info = json.loads(run(MOERING, "trace", "info", path, "--json").stdout)
        assert x["tokens"] == info["tokens"] and x["steps"] == info["steps"], (x, info)
        assert 0 < x["hit_rate"] < 1


def replays_sweep_over_sizes(_):
    with tempfile.TemporaryDirectory() as folder:
        path = write_trace(os.path.join(folder, "a.mtrace"))
        csv, svg = os.path.join(folder, "a.csv"), os.path.join(folder, "a.svg")
        run(MOERING, "replay", path, "--sweep", "--csv", csv, "--svg", svg)
        with open(csv, encoding="utf-8") as f:
            lines = [x.split(",") for x in f.read().splitlines()]
        rows = [dict(zip(lines[0], x)) for x in lines[1:]]
        assert len(rows) == 6 * 7 and {len(x) for x in lines} == {len(lines[0])}
        for policy in ("learned", "round", "lru", "lfu", "random"):
            rates = [float(x["hit_rate"]) for x in rows if x["policy"] == policy]
            assert len(rates) == 7 and rates[0] < rates[-1], (policy, rates)
        assert all(float(x["belady_share"]) <= 1 for x in rows)
        with open(svg, encoding="utf-8") as f:
            assert f.read().startswith("<svg ")
        one = run(MOERING, "replay", path, "--sweep", "--policy", "round").stdout.splitlines()
        assert len(one) == 8 and all(x.startswith("round,") for x in one[1:])


def memory_is_planned(_):
    with tempfile.TemporaryDirectory() as folder:
        path = write_trace(os.path.join(folder, "a.mtrace"))

        def plan(*words):
            return json.loads(run(MOERING, "plan", *words, "--json").stdout)
        a = plan(path)
        rates = [x["tokens_per_s"] for x in a["sizes"]]
        assert len(rates) == 8 and rates == sorted(rates) and a["routing"] == "trace"
        assert a["link_tokens_per_s"] < rates[0] and rates[-1] < a["resident_tokens_per_s"]
        target = (rates[2] + rates[5]) / 2
        found = plan(path, "--target-tps", target)["sizes"][0]
        assert found["tokens_per_s"] >= target
        pages = [x["device_pages"] for x in a["sizes"]]
        assert pages[2] < found["device_pages"] <= pages[5]
        less = plan(path, "--device-experts", found["device_pages"] - 1)["sizes"][0]
        assert less["tokens_per_s"] < target
        model = json.loads(run(MOERING, "inspect", TINY, "--json").stdout)
        m = plan(TINY, "--link-gbps", 1, "--step-us", 100, "--device-experts", "50%")
        assert m["routing"] == "uniform" and m["pages"] == model["pages"], m
        assert m["expert_bytes"] == model["expert_bytes"] and m["sizes"][0]["hit_rate"] == 0.5
        fit = write_trace(os.path.join(folder, "b.mtrace"), model["layers"], model["experts"])
        with_trace = plan(TINY, "--trace", fit, "--device-experts", "50%")
        assert with_trace["page_bytes"] == m["page_bytes"]
        assert with_trace["sizes"][0]["hit_rate"] > 0.5, with_trace
        text = run(MOERING, "plan", path, "--target-tps", target).stdout
        assert "--device-experts %d" % found["device_pages"] in text, text


def replays_name_what_is_wrong(_):
    with tempfile.TemporaryDirectory() as folder:
        path = write_trace(os.path.join(folder, "a.mtrace"))
        wide = write_trace(os.path.join(folder, "w.mtrace"), extra={"experts": 8})
        cases = [(("replay",), 2, "needs the file"), (("replay", "/nowhere"), 1, "/nowhere"),
                 (("replay", wide), 1, "experts is 8"),
                 (("replay", path, "--batch", "0"), 1, "--batch: '0'"),
                 (("replay", path, "--batch", "trace"), 1, "column 'step'"),
                 (("replay", path, "--device-pages", "auto"), 1, "--device-pages"),
                 (("replay", path, "--device-pages", "0"), 1, "--device-pages"),
                 (("replay", path, "--policy", "lur"), 2, "did you mean 'lru'"),
                 (("replay", path, "--link-gbps", "0"), 2, "--link-gbps: '0'"),
                 (("replay", path, "--page-bytes", "0"), 1, "--page-bytes"),
                 (("replay", path, "--svg", "x"), 2, "--svg: only with --sweep"),
                 (("replay", path, "--sweep", "--json"), 2, "--json"),
                 (("replay", path, "--sweep", "--csv", "/nowhere/x"), 1, "--csv /nowhere/x"),
                 (("replay", path, "--predictor", "previous"), 1, "--predictor: only with"),
                 (("replay", path, "--predictor", "lookahead", "--prefetch", "on"), 1,
                  "column 'lookahead'"),
                 (("replay", path, path), 2, "unexpected word"),
                 (("plan", path, "--target-tps", "1e6"), 1, "out of reach"),
                 (("plan", path, "--target-tps", "1", "--device-experts", "5"), 2, "not both"),
                 (("plan", path, "--trace", path), 1, "is no model"),
                 (("plan", TINY, "--trace", path), 1, "4 layers x 16 experts"),
                 (("plan", TINY, "--policy", "lru"), 1, "--policy: only with a trace"),
                 (("plan", "/nowhere"), 1, "/nowhere")]
        for words, code, says in cases:
            r = run(MOERING, *words, code=code)
            assert says in r.stderr and r.stderr.count("\n") == 1, (words, r.stderr)


def load_log(folder, ticks):
    """The first ticks of what training the built-in model routed."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "../models/routing_log_to_jsonl.py")
    lines = run(sys.executable, script, os.path.join(TINY, "routing_log.npz")).stdout.splitlines()
    model = json.loads(run(MOERING, "inspect", TINY, "--json").stdout)
    path = os.path.join(folder, "log.jsonl")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:ticks * model["layers"]]) + "\n")
    return path


def a_load_forecast_is_trained_and_used(_):
    with tempfile.TemporaryDirectory() as folder:
        log, weights = load_log(folder, 130), os.path.join(folder, "w.lstm")
        x = json.loads(run(MOERING, "trace", "predict", log, "--json", "--lstm-out",
                           weights).stdout)
        assert x["lstm"]["ticks"] == 78 and x["lstm"]["loss"] < x["lstm"]["loss_untrained"], x
        assert {cell["horizon"] for cell in x["cells"]} == {1, 2, 10, 11}, x["cells"]
        assert sorted(os.listdir(folder)) == ["log.jsonl", "w.lstm"], os.listdir(folder)
        with open(weights, "rb") as f:
            whole = f.read()
        sizes = struct.unpack_from("<8I", whole, 8)
        assert whole.startswith(b"MOELSTM\0") and sizes == (1, 6, 32, 64, 4, 1, 2, 10), sizes
        run(MOERING, "trace", "predict", log, "--lstm-out", weights)
        with open(weights, "rb") as f:
            assert f.read() == whole, "the same log gives the same weights"
        a = answer("-p", PROMPT, "-n", 12)
        assert answer("-p", PROMPT, "-n", 12, "--load-lstm", weights)["tokens"] == a["tokens"]
        r = run(MOERING, "run", TINY, "-p", "x", "-n", 1, "--load-lstm", weights, "--log-level",
                "debug")
        assert any(x.startswith("load LSTM ") and "--load-lstm" in x
                   for x in r.stderr.splitlines()), r.stderr

        def path(name, content):
            with open(os.path.join(folder, name), "wb") as f:
                f.write(content)
            return os.path.join(folder, name)
        other = path("other.jsonl", b"".join(
            b'{"tick":%d,"phase":"decode","layer":0,"tokens":9,"counts":[%d,%d]}\n'
            % (t, 3 + t % 3, 6 - t % 3) for t in range(30)))
        run(MOERING, "trace", "predict", other, "--horizons", "1", "--lstm-out", other + ".lstm")
        for wrong, says in ((other + ".lstm", "layers x experts is 1 x 2; the model has 6 x 32"),
                            (path("cut", whole[:-1]), "bytes follow the header"),
                            (path("bit", whole[:-1] + bytes([whole[-1] ^ 1])), "checksum is "),
                            (log, "magic: "), ("/nowhere/w", "No such file")):
            for words in (("run", TINY, "-p", "x"), ("serve", TINY, "--grpc-port", 0)):
                r = run(MOERING, *words, "--load-lstm", wrong, code=1)
                last = r.stderr.splitlines()[-1]
                assert "--load-lstm: %s: " % wrong in last and says in last, r.stderr
        few = path("few.jsonl", b"".join(
            b'{"tick":%d,"phase":"decode","layer":0,"tokens":9,"counts":[4,5]}\n' % t
            for t in range(5)))
        for words, says in (((log, "--lstm-out", "/nowhere/w"), "--lstm-out /nowhere/w: No such"),
                            (("/nowhere/log", "--lstm-out", weights), "/nowhere/log"),
                            ((few, "--horizons", "1", "--lstm-out", weights),
                             few + ": nothing was trained, 3 ticks are too few"),
                            ((other, "--horizons", "1", "--lstm-out", folder), "--lstm-out: ")):
            r = run(MOERING, "trace", "predict", *words, code=1)
            assert says in r.stderr and not r.stdout, r.stderr
        with open(weights, "rb") as f:
            assert f.read() == whole, "a failure leaves the old weights"


def help_is_complete(_):
    for words in ((), ("--help",), ("serve", "--help"), ("run", "-h"), ("inspect", "--help")):
        r = run(MOERING, *words, code=0 if words else 2)
        assert "Usage: moering" in r.stdout + r.stderr
    text = run(MOERING, "serve", "--help").stdout
    for flag in ("--host", "--grpc-port", "--max-model-len", "--max-num-seqs",
                 "--max-num-batched-tokens", "--device-experts", "--host-experts", "--threads",
                 "--shutdown-timeout", "--config", "--prefetch", "--kv-cache-dtype", "--policy",
                 "--predictor", "--stream-layers K|auto|off", "--device auto|cpu|cuda[:N]",
                 "--placement auto|device|host", "--deterministic"):
        assert flag in text, flag
    assert "\n  --device-experts --moe-expert-cache-size BYTES|N|N%\n" + 47 * " " + "room" in text
    assert run(MOERING, "version").stdout.startswith("moering ")
    assert "Usage" in run(MOERING, "version", "--help").stdout
    for words in (("version", "--bogus"), ("--version", "x"), ("--help", "x")):
        r = run(MOERING, *words, code=2)
        assert "unexpected word '%s'" % words[1] in r.stderr and not r.stdout, r.stderr
    assert "generate" in run(CLIENT, "--help").stdout


def wrong_words_name_the_nearest(_):
    cases = [(("serv",), "'serve'"), (("serve", "--max-num-seq", "3"), "'--max-num-seqs'"),
             (("serve", "--io", "tread"), "'thread'"),
             (("run", "--temprature", "1"), "temperature"),
             (("serve", "--grpc-port", "99999"), "from 0 to 65535"),
             (("serve", "--device-experts", "lots"), "--device-experts"),
             (("run", "--device", "gpu"), "none of: auto, cpu, cuda, cuda:N"),
             (("serve", "--placement", "hots"), "'host'"),
             (("serve", "--max-num-seqs", "600", "--max-num-batched-tokens", "512"),
              "--max-num-batched-tokens 512")]
    for words, says in cases:
        r = run(MOERING, *words, code=2)
        assert says in r.stderr, (words, r.stderr)


def flag_over_environment_over_file(_):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("max-num-seqs: 3\nmax-queue: 4\nthreads: 1\nio: sync\n")
        environment = {"MOERING_MAX_QUEUE": "5", "MOERING_MAX_MODEL_LEN": "200"}
        process = subprocess.Popen(
            [MOERING, "serve", TINY, "--config", path, "--threads", "2", "--grpc-port", "0"],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        seen = []
        for line in process.stderr:
            seen.append(" ".join(line.split()))
            if "gRPC on" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(60) == 0
        process.stderr.close()
        for line in ("max-num-seqs 3 (file)", "max-queue 5 (environment)", "threads 2 (flag)",
                     "io sync (file)", "max-model-len 200 (environment)",
                     "host 127.0.0.1 (default)"):
            assert line in seen, (line, seen)
        with open(path, encoding="utf-8") as f:
            good = f.read()
        for line, says in (("max-num-sqs: 3\n", "did you mean 'max-num-seqs'"),
                           ("threads: 1\n", "threads: given twice, first in line 3"),
                           ("config: other.yaml\n", "cannot name another settings file"),
                           ("---\nhost: ::1\n", "a second document")):
            with open(path, "w", encoding="utf-8") as f:
                f.write(good + line)
            r = run(MOERING, "serve", "--config", path, code=2)
            assert path + ":5: " in r.stderr and says in r.stderr, r.stderr


# ---- moering-client ----

def client_generates(server):
    at = ("--connect", server.address)
    expected = answer("-p", PROMPT, "-n", 12)["text"]
    r = run(CLIENT, "generate", *at, "-p", PROMPT, "-n", 12, "--temperature", 0)
    assert r.stdout == expected + "\n" and "hits" in r.stderr
    r = run(CLIENT, "generate", *at, "-n", 12, "--temperature", 0, stdin=PROMPT)
    assert r.stdout == expected + "\n"
    a = json.loads(run(CLIENT, "generate", *at, "-p", PROMPT, "-n", 3, "--json", "--temperature", 0,
                       "--top-logprobs", 2).stdout)
    assert len(a["tokens"]) == len(a["logprobs"]) == 3 and len(a["logprobs"][0]["top"]) == 2
    assert a["usage"]["experts"]["hits"] + a["usage"]["experts"]["misses"] > 0


def client_asks(server):
    at = ("--connect", server.address)
    assert run(CLIENT, "health", *at).stdout == "SERVING\n"
    assert run(MOERING, "health", *at).stdout == "SERVING\n"
    ids = run(CLIENT, "tokenize", *at, "--text", PROMPT).stdout.strip()
    assert ids == run(MOERING, "tokenize", TINY, PROMPT).stdout.strip()
    back = run(CLIENT, "detokenize", *at, "--tokens", ids.replace(" ", ",")).stdout
    assert back == PROMPT + "\n"
    model = json.loads(run(CLIENT, "model", *at, "--json").stdout)
    assert model["architecture"] == "qwen3_moe"
    stats = json.loads(run(CLIENT, "stats", *at, "--json").stdout)
    assert stats["requests_finished"] > 0 and stats["tiers"][0]["name"] == "device"
    assert "requests" in run(CLIENT, "stats", *at).stdout
    assert "layers" in run(CLIENT, "model", *at).stdout


def client_names_errors(server):
    at = ("--connect", server.address)
    cases = [(("generate", *at, "-p", "x", "--temperature", "-1"), 1, "INVALID_ARGUMENT"),
             (("generate", *at, "-p", "x", "--model", "none"), 1, "NOT_FOUND"),
             (("generate", *at, "-p", "x", "--ignore-eos", "--timeout", "0.02"), 1,
              "DEADLINE_EXCEEDED"),
             (("health", "--connect", "127.0.0.1:1"), 1, "UNAVAILABLE"),
             (("health", "--connect", "nonsense"), 1, "HOST:PORT"),
             (("generate", "--nonsense"), 2, "nonsense"), (("generate", "-n", "x"), 2, "'x'"),
             (("generat",), 2, "generat"), ((), 2, "Usage"), (("detokenize", *at), 2, "--tokens")]
    for words, code, says in cases:
        r = run(CLIENT, *words, code=code, stdin="")
        assert says in r.stderr, (words, r.stderr)


def client_cancels_on_interrupt(_):
    """On a server so slow that the request cannot end by itself before the hang-up is seen."""
    server = Server(MOERING, "--isa", "scalar", "--threads", 1, "--io", "sync", "--device-experts", 1)
    try:
        process = subprocess.Popen([CLIENT, "generate", "--connect", server.address, "-p", "Once",
                                    "--ignore-eos", "-n", "950"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "CANCELLED" in err, (process.returncode, err)
        server.wait_idle(60)
        stats = server.stub.stats()
        assert (stats.requests_cancelled, stats.requests_finished) == (1, 0), stats
        assert stats.generation_tokens < 900, stats
    finally:
        server.stop()


def client_waits_for_the_server(server):
    port = server.port
    server.stop()
    late = subprocess.Popen([CLIENT, "generate", "--connect", "127.0.0.1:%d" % port, "--wait", "30",
                             "-p", PROMPT, "-n", "5", "--temperature", "0"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(0.3)
    again = subprocess.Popen([MOERING, "serve", TINY, "--grpc-port", str(port)],
                             stderr=subprocess.DEVNULL)
    try:
        out, _ = late.communicate(timeout=60)
        assert late.returncode == 0 and out.strip()
    finally:
        again.terminate()
        assert again.wait(60) == 0
    r = run(CLIENT, "health", "--connect", "127.0.0.1:%d" % port, "--wait", "0.3", code=1)
    assert "UNAVAILABLE" in r.stderr


def main():
    assert pb
    server = Server(MOERING)
    return run_cases([
        run_prints_the_text, run_prints_json, run_takes_a_batch, run_takes_ids, run_writes_logits,
        run_obeys_its_flags, a_model_without_tokenizer_takes_ids, inspect_reads_headers_only,
        tokenize_prints_ids, the_builtin_model_is_found, lost_output_is_a_failure,
        stray_variables_are_told, signals_end_a_load_at_once, routing_is_recorded,
        a_file_that_may_not_grow_costs_no_answer, a_predictor_without_prefetch_is_refused,
        who_computes_is_told_once, placement_without_a_gpu_is_refused,
        a_killed_recording_is_recovered, a_trace_is_replayed, a_recorded_run_is_replayed,
        replays_sweep_over_sizes, memory_is_planned, a_load_forecast_is_trained_and_used,
        replays_name_what_is_wrong, help_is_complete,
        wrong_words_name_the_nearest, flag_over_environment_over_file, client_generates,
        client_asks, client_names_errors, client_cancels_on_interrupt, client_waits_for_the_server,
    ], server)


if __name__ == "__main__":
    sys.exit(main())
