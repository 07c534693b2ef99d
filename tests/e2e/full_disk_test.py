"""Disks that are full and files that may not grow: whoever writes says so, once, and fails.

    full_disk_test.py MOERING MOERING_CLIENT [MOERING_BENCH]
"""
import json
import os
import resource
import subprocess
import sys
import tempfile

from grpc_wire import run_cases
from moering_wire import Server, TINY

MOERING, CLIENT = sys.argv[1:3]
BENCH = sys.argv[3] if len(sys.argv) > 3 else None
PROMPT = "Q: What is 12 + 34?\nA:"
STDOUT_LOST = "standard output: No space left on device"


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}


def run(*words, stdout=subprocess.PIPE, file_bytes=None, stdin=None):
    def limit():
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    return subprocess.run([str(w) for w in words], stdout=stdout, stderr=subprocess.PIPE, text=True,
                          input=stdin, timeout=120, env=environment(), preexec_fn=limit,
                          check=False)


def told(r, name):
    """Sentences of the program itself: log lines begin otherwise."""
    return [x for x in r.stderr.splitlines() if x.startswith(name + ": ")]


def fails(name, says, *words, **kw):
    """It ends with 1 and one sentence that holds `says`."""
    r = run(*words, **kw)
    assert r.returncode == 1, (words, r.returncode, r.stderr[-1000:])
    sentences = told(r, name)
    assert len(sentences) == 1 and says in sentences[0], (words, says, r.stderr[-1000:])
    return r


def recorded(folder, *flags):
    path = os.path.join(folder, "a.mtrace")
    r = run(MOERING, "run", TINY, "-p", PROMPT, "-n", 50, "--ignore-eos", "--trace-out", path,
            *flags)
    assert r.returncode == 0, r.stderr
    return path


def every_command_tells_of_lost_output():
    with tempfile.TemporaryDirectory() as folder, open("/dev/full", "w", encoding="utf-8") as full:
        trace = recorded(folder)
        for words in (("trace", "info", trace), ("trace", "info", trace, "--json"),
                      ("replay", trace), ("replay", trace, "--json"), ("replay", trace, "--sweep"),
                      ("plan", trace, "--target-tps", 10), ("plan", trace, "--json"),
                      ("bench", TINY, "-p", 0, "-n", 2, "-r", 1),
                      ("bench", TINY, "-p", 0, "-n", 2, "-r", 1, "-o", "json"),
                      ("trace", "info", "--help"), ("convert", "--help"), ("replay", "--help")):
            fails("moering", STDOUT_LOST, MOERING, *words, stdout=full)


def files_that_take_no_byte_are_named():
    with tempfile.TemporaryDirectory() as folder:
        trace = recorded(folder)
        for words, says in (
                (("run", TINY, "-p", "hi", "-n", 2, "--logits-out", "/dev/full"),
                 "--logits-out /dev/full"),
                (("replay", trace, "--sweep", "--svg", "/dev/full"), "--svg /dev/full"),
                (("replay", trace, "--sweep", "--csv", "/dev/full"), "--csv /dev/full"),
                (("trace", "info", trace, "--png", "/dev/full"), "/dev/full")):
            fails("moering", says + ": No space left on device", MOERING, *words)
        r = fails("moering", "--trace-out: /dev/full: not a regular file", MOERING, "run", TINY,
                  "-p", "hi", "-n", 2, "--trace-out", "/dev/full")
        assert r.stdout == "", r.stdout


def a_limit_on_files_is_a_full_disk():
    """SIGXFSZ would end a program without a word. What is whole or not there is not there."""
    with tempfile.TemporaryDirectory() as folder:
        def path(name):
            return os.path.join(folder, name)
        trace, log = recorded(folder), path("log.jsonl")
        with open(log, "w", encoding="utf-8") as f:
            f.write(load_log(130))
        kept = sorted(os.listdir(folder))
        for size in (0, 1000, 100000):
            for command in ("convert", "repack"):
                fails("moering", "x.gguf.part: ", MOERING, command, TINY, "--out", path("x.gguf"),
                      file_bytes=size)
        fails("moering", "w.lstm: cannot be written: File too large", MOERING, "trace", "predict",
              log, "--lstm-out", path("w.lstm"), file_bytes=1000)
        assert sorted(os.listdir(folder)) == kept, os.listdir(folder)
        fails("moering", "h.png: File too large", MOERING, "trace", "info", trace, "--png",
              path("h.png"), file_bytes=100)
        fails("moering", "--svg %s: File too large" % path("h.svg"), MOERING, "replay", trace,
              "--sweep", "--svg", path("h.svg"), file_bytes=100)
        fails("moering", "--csv %s: File too large" % path("h.csv"), MOERING, "replay", trace,
              "--sweep", "--csv", path("h.csv"), file_bytes=10)
        fails("moering", "l.f32: File too large", MOERING, "run", TINY, "-p", "hi", "-n", 9,
              "--logits-out", path("l.f32"), file_bytes=1000)


def load_log(ticks):
    """The first ticks of what training the built-in model routed."""
    here = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(here, "../models/routing_log_to_jsonl.py")
    r = run(sys.executable, script, os.path.join(TINY, "routing_log.npz"))
    assert r.returncode == 0, r.stderr
    layers = json.loads(run(MOERING, "inspect", TINY, "--json").stdout)["layers"]
    return "\n".join(r.stdout.splitlines()[:ticks * layers]) + "\n"


def a_recovery_without_room_keeps_the_recording():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "b.mtrace.part")
        r = run(MOERING, "run", TINY, *["-p", PROMPT] * 40, "-n", 60, "--ignore-eos", "--trace-out",
                path[:-len(".part")], file_bytes=200000)
        assert r.returncode == 0 and r.stderr.count("recording stopped") == 1, r.stderr
        assert os.listdir(folder) == [os.path.basename(path)], os.listdir(folder)
        before = os.path.getsize(path)
        fails("moering", "File too large", MOERING, "trace", "recover", path, file_bytes=4096)
        assert os.listdir(folder) == [os.path.basename(path)], os.listdir(folder)
        assert os.path.getsize(path) >= before - 200000 // 10, "the recording is still there"
        r = run(MOERING, "trace", "recover", path)
        assert r.returncode == 0, r.stderr
        x = json.loads(run(MOERING, "trace", "info", path[:-len(".part")], "--json").stdout)
        assert x["tokens"] > 100, x


def the_client_tells_of_lost_output():
    server = Server(MOERING)
    at = ("--connect", server.address)
    with open("/dev/full", "w", encoding="utf-8") as full:
        for words in (("generate", "-p", PROMPT, "-n", 5),
                      ("generate", "-p", PROMPT, "-n", 5, "--json"),
                      ("model",), ("model", "--json"), ("stats",), ("stats", "--json"),
                      ("tokenize", "hello"), ("tokenize", "hello", "--json"),
                      ("detokenize", "--tokens", "5,6"), ("--help",)):
            where = () if words[0] == "--help" else at
            fails("moering-client", "No space left on device", CLIENT, *words, *where, stdout=full)
        r = run(CLIENT, "chat", *at, "-n", 5, stdout=full, stdin="hello\n")
        assert r.returncode == 1 and "No space left on device" in r.stderr, (r.returncode, r.stderr)
    with tempfile.TemporaryDirectory() as folder:
        for path, file_bytes, says in (("/dev/full", None, "No space left on device"),
                                       (os.path.join(folder, "c.json"), 10, "File too large")):
            r = run(CLIENT, "chat", *at, "-n", 5, stdin="hello\n/save %s\n" % path,
                    file_bytes=file_bytes)
            assert "%s: %s" % (path, says) in r.stderr, (r.returncode, r.stderr)
    server.stop()


def the_load_generator_tells_of_lost_output():
    if not BENCH:
        return
    server = Server(MOERING)
    with tempfile.TemporaryDirectory() as folder, open("/dev/full", "w", encoding="utf-8") as full:
        load = (BENCH, "--backend", "moering", "--port", server.port, "--dataset-name", "random",
                "--random-input-len", 4, "--random-output-len", 4, "--num-prompts", 2)
        r = run(*load)
        assert r.returncode == 0, r.stderr
        fails("moering-bench", STDOUT_LOST, *load, stdout=full)
        fails("moering-bench", STDOUT_LOST, BENCH, "--help", stdout=full)
        fails("moering-bench", "/dev/full: No space left on device", *load, "--html", "/dev/full")
        fails("moering-bench", "/dev/full: No space left on device", *load, "--save-result",
              "--result-dir", "/dev", "--result-filename", "full")
        fails("moering-bench", "r.html: File too large", *load, "--html",
              os.path.join(folder, "r.html"), file_bytes=1000)
        fails("moering-bench", "r.json: File too large", *load, "--save-result", "--result-dir",
              folder, "--result-filename", "r.json", file_bytes=100)
    server.stop()


CASES = (every_command_tells_of_lost_output, files_that_take_no_byte_are_named,
         a_limit_on_files_is_a_full_disk, a_recovery_without_room_keeps_the_recording,
         the_client_tells_of_lost_output, the_load_generator_tells_of_lost_output)

if __name__ == "__main__":
    sys.exit(run_cases(CASES))
