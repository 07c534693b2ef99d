"""/metrics, /v1/stats and /v1/experts of a real server, read by programs of others: both text formats by
Prometheus' own Python client, the JSON and the stream by server/ui/FORMATS.md, all of it under load.

    metrics_test.py MOERING
"""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from grpc_wire import need, run_cases
from ui_formats import MapStream, check_map, check_stats, read_binary

need("prometheus_client", "python3-prometheus-client")
from prometheus_client import parser as text_parser  # noqa: E402
from prometheus_client.openmetrics import parser as openmetrics_parser  # noqa: E402

MOERING = sys.argv[1]
ROOT = os.environ.get("MOERING_SOURCE_DIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", ".."))
MODEL = os.path.join(ROOT, "deploy", "models", "tiny")
NAME = 'a "quoted\\name"'
KEY = "a-key"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Server:
    """A third of the experts fit. `public`: what --metrics-public says."""

    def __init__(self, *options, public="off", metrics="on"):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}
        environment["MOERING_API_KEY"] = KEY
        self.process = subprocess.Popen(
            [MOERING, "serve", MODEL, "--port", "0", "--grpc-port", "0", "--served-model-name", NAME,
             "--device-experts", "33%", "--metrics", metrics, "--metrics-public", public, *options],
            stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        heard = threading.Event()

        def read():
            for line in self.process.stderr:
                self.log.append(line)
                if "HTTP on" in line:
                    heard.set()
            heard.set()
        threading.Thread(target=read, daemon=True).start()
        heard.wait(60)
        found = re.search(r"HTTP on (\S+:\d+)", "".join(self.log))
        assert found, "no HTTP port:\n" + "".join(self.log)
        self.url = "http://" + found.group(1)

    def open(self, path, body=None, key=KEY, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if key:
            headers["Authorization"] = "Bearer " + key
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers),
                                      timeout=30)

    def get(self, path, **kw):
        with self.open(path, **kw) as answer:
            return answer.read()

    def code(self, path, **kw):
        try:
            with self.open(path, **kw) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code

    def stats(self):
        return json.loads(self.get("/v1/stats"))

    def wait_ready(self):
        end = time.monotonic() + 60
        while True:
            stats = self.stats()
            check_stats(stats)
            if stats["state"] == "ready":
                return
            assert stats["state"] == "loading" and time.monotonic() < end, stats["state"]
            time.sleep(0.02)

    def complete(self, **kw):
        body = {"model": NAME, "prompt": "One sunny day Ada", "max_tokens": 24, "temperature": 0}
        with self.open("/v1/completions", {**body, **kw}) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, "".join(self.log)


class Load:
    """Completions, one after another, while `with` lasts."""

    def __init__(self, server):
        self.server, self.stop, self.done = server, threading.Event(), 0
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.stop.is_set():
            self.server.complete()
            self.done += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(60)


def families(server, openmetrics):
    """By name; counters have the short one in both formats."""
    parse = openmetrics_parser if openmetrics else text_parser
    headers = {"Accept": OPENMETRICS} if openmetrics else {}
    with server.open("/metrics", **headers) as answer:
        kind = answer.headers["Content-Type"]
        page = answer.read().decode()
    assert kind.startswith("application/openmetrics-text; version=1.0.0" if openmetrics
                           else "text/plain; version=0.0.4"), kind
    return {f.name: f for f in parse.text_string_to_metric_families(page)}


def value(family, suffix="", **labels):
    found = [s.value for s in family.samples if s.name == family.name + suffix and
             labels.items() <= s.labels.items()]
    assert found, (family.name, labels)
    return sum(found)


# ---- cases ----

def both_formats_say_the_same(server):
    server.complete()
    text, openmetrics = families(server, False), families(server, True)
    assert text.keys() == openmetrics.keys(), text.keys() ^ openmetrics.keys()
    for name, family in text.items():
        assert family.type == openmetrics[name].type, name
        assert family.documentation == openmetrics[name].documentation, name
        assert family.samples == openmetrics[name].samples, name
    for name, family in text.items():
        if name.startswith("vllm:"):
            for sample in family.samples:
                assert sample.labels["model_name"] == NAME, sample
                assert sample.labels["engine"] == "0", sample


def counts_are_those_of_the_requests(server):
    before = families(server, True)
    answer = server.complete(n=2, max_tokens=10, ignore_eos=True)
    after = families(server, True)

    def more(name, suffix="", **labels):
        return value(after[name], suffix, **labels) - value(before[name], suffix, **labels)
    assert more("vllm:generation_tokens", "_total") == 20
    assert more("vllm:prompt_tokens", "_total") == 2 * answer["usage"]["prompt_tokens"]
    assert more("vllm:request_success", "_total", finished_reason="length") == 2
    assert more("vllm:request_params_n", "_count") == 1
    assert more("vllm:request_params_n", "_sum") == 2
    assert more("vllm:request_params_max_tokens", "_sum") == 20
    assert more("vllm:time_to_first_token_seconds", "_count") == 2
    assert more("vllm:inter_token_latency_seconds", "_count") == 18
    steps = more("vllm:iteration_tokens_total", "_count")
    assert 10 <= steps <= 20, steps
    assert more("vllm:prefix_cache_queries", "_total") == 2 * answer["usage"]["prompt_tokens"]
    found = more("vllm:prefix_cache_hits", "_total")
    assert more("vllm:iteration_tokens_total", "_sum") == (
        2 * answer["usage"]["prompt_tokens"] + 18 - found), "the last token of each is not computed"
    assert more("moering_expert_cache_misses", "_total", tier="device") > 0
    assert more("moering_expert_bytes_read", "_total", src="storage", dst="device") > 0
    assert more("moering_expert_bytes_read", "_total", src="storage", dst="host") == 0


def promtool_finds_no_fault(server):
    if not shutil.which("promtool"):
        print("     skipped: promtool is missing (Debian package prometheus)")
        return
    page = server.get("/metrics").decode()
    ours = "".join(line + "\n" for line in page.splitlines() if "moering_" in line.split("{")[0])
    checked = subprocess.run(["promtool", "check", "metrics"], input=ours, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert checked.returncode == 0 and not checked.stdout, checked.stdout


def keys_are_asked_for(server):
    for path in ("/metrics", "/v1/stats", "/v1/experts", "/v1/experts/stream"):
        assert server.code(path, key=None) == 401, path
    public = Server(public="on")
    try:
        assert public.code("/metrics", key=None) == 200
        assert public.code("/v1/stats", key=None) == 401
    finally:
        public.stop()
    without = Server(metrics="off")
    try:
        assert without.code("/metrics") == 404
        assert without.code("/v1/stats") == 200
    finally:
        without.stop()


def stats_keep_their_form_under_load(server):
    with Load(server) as load:
        last = server.stats()
        for _ in range(100):
            stats = server.stats()
            check_stats(stats)
            assert stats["now_ms"] > last["now_ms"]
            assert stats["tokens"]["generation"] >= last["tokens"]["generation"]
            last = stats
        while load.done < 1:
            time.sleep(0.01)
    assert last["engine"]["steps"] > 0 and last["experts"]["misses"] > 0


def the_stream_is_followed_under_load(server):
    with Load(server), server.open("/v1/experts/stream") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        view = MapStream(answer)
        assert view.next() == "map"
        begin = time.monotonic()
        kinds = [view.next() for _ in range(15)]
        assert time.monotonic() - begin > 1.3, "more than ten a second"
        assert "delta" in kinds or kinds.count("map") == 15, kinds
        assert any(cell & 63 for cell in view.cells), "nothing is warm"


def maps_agree(server):
    """JSON and binary to the byte, of the same look; the stream, later and cooler, in its tiers."""
    time.sleep(0.2) # looks are shared for a tenth of a second, and the last one may have seen work
    for _ in range(20):
        answer = json.loads(server.get("/v1/experts"))
        cells = check_map(answer)
        layers, experts, tick, now_ms, binary = read_binary(server.get("/v1/experts?format=bin"))
        if tick == answer["tick"]:
            break
    assert (tick, now_ms, binary) == (answer["tick"], answer["now_ms"], cells)
    assert len(cells) == layers * experts
    stats = server.stats()
    assert stats["now_ms"] >= now_ms, "one clock"
    assert sum(cell >> 6 == 2 for cell in cells) == stats["tiers"][0]["resident_pages"]
    with server.open("/v1/experts/stream") as answer:
        view = MapStream(answer)
        view.next()
        assert [c >> 6 for c in view.cells] == [c >> 6 for c in cells]
        assert all(new & 63 <= old & 63 for new, old in zip(view.cells, cells))


def a_drain_ends_streams(_):
    server = Server()
    server.wait_ready()
    with server.open("/v1/experts/stream") as answer:
        MapStream(answer).next()
        server.process.terminate()
        answer.read() # ends
    assert server.process.wait(20) == 0, "".join(server.log)


def main():
    server = Server()
    try:
        server.wait_ready()
        return run_cases([both_formats_say_the_same, counts_are_those_of_the_requests,
                          promtool_finds_no_fault, keys_are_asked_for,
                          stats_keep_their_form_under_load, the_stream_is_followed_under_load,
                          maps_agree, a_drain_ends_streams], server)
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
