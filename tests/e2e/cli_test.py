"""The command lines of moering and moering-client as a user types them.

    cli_test.py MOERING MOERING_CLIENT
"""
import json
import os
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
                  ["--device-experts", 5, "--prefetch", "off"], ["--io", "sync"]):
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


def help_is_complete(_):
    for words in ((), ("--help",), ("serve", "--help"), ("run", "-h"), ("inspect", "--help")):
        r = run(MOERING, *words, code=0 if words else 2)
        assert "Usage: moering" in r.stdout + r.stderr
    text = run(MOERING, "serve", "--help").stdout
    for flag in ("--host", "--grpc-port", "--max-model-len", "--max-num-seqs",
                 "--max-num-batched-tokens", "--device-experts", "--host-experts", "--threads",
                 "--shutdown-timeout", "--config", "--prefetch", "--kv-cache-dtype"):
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
             (("serve", "--max-num-seqs", "600"), "--max-num-batched-tokens 512")]
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
        stray_variables_are_told, signals_end_a_load_at_once, help_is_complete,
        wrong_words_name_the_nearest, flag_over_environment_over_file, client_generates,
        client_asks, client_names_errors, client_cancels_on_interrupt, client_waits_for_the_server,
    ], server)


if __name__ == "__main__":
    sys.exit(main())
