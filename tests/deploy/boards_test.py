"""The boards and rules on a real Prometheus that scrapes a real server: every query of the stock
vLLM board, of ours, and every recording rule must give a series.

    boards_test.py MOERING
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from deploy_files import (ROOT, board_queries, concrete, documents, metric_names, path, run,
                          run_cases, skip, vllm_queries, yaml)

MOERING = sys.argv[1]
MODEL = os.path.join(ROOT, "deploy", "models", "tiny")
NAME = "board-test"
KEY = "key-of-the-test"
SCRAPES = 12 # a second apart: the windows of the boards hold ten


def fetch(url, data=None, key=None, timeout=30):
    headers = {"Content-Type": "application/json"} if data else {}
    if key:
        headers["Authorization"] = "Bearer " + key
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=timeout) as r:
        return r.read().decode()


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited %d s for %s" % (seconds, what)
        time.sleep(0.1)


def answers(url):
    try:
        fetch(url)
        return True
    except OSError: # of urllib too: HTTPError is one
        return False


class Server:
    """Half of the experts fit, so that hits, misses and evictions all happen."""

    def __init__(self):
        self.log = []
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MOERING_")}
        self.process = subprocess.Popen(
            [MOERING, "serve", MODEL, "--port", "0", "--grpc-port", "0", "--served-model-name",
             NAME, "--device-experts", "50%", "--metrics-public", "on"],
            stderr=subprocess.PIPE, text=True, env={**environment, "MOERING_API_KEY": KEY})
        self.address = None
        heard = threading.Event()

        def read():
            for line in self.process.stderr:
                self.log.append(line)
                found = re.search(r"HTTP on (\S+:\d+)", line)
                if found:
                    self.address = found.group(1)
                    heard.set()
            heard.set()
        threading.Thread(target=read, daemon=True).start()
        heard.wait(60)
        assert self.address, "no HTTP port:\n" + "".join(self.log)
        self.url = "http://" + self.address
        until(lambda: answers(self.url + "/readyz"), "the server to be ready")

    def work(self, stop):
        """Requests one after another; some end by length, some by an end token."""
        bodies = [{"model": NAME, "prompt": prompt, "max_tokens": 24, "temperature": 0}
                  for prompt in ("One sunny day Ada", "Q: What is 45 + 37?\nA:")]
        while not stop.is_set():
            for body in bodies:
                fetch(self.url + "/v1/completions", json.dumps(body).encode(), KEY)

    def metrics(self):
        return fetch(self.url + "/metrics")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    """Our configuration, but for the target, the pace and windows that fit a short test."""

    def __init__(self, target, folder):
        config = documents("prometheus", "prometheus.yml")[0]
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        rules = documents("prometheus", "rules", "moering.yml")[0]
        os.mkdir(os.path.join(folder, "rules"))
        for name, document in (("prometheus.yml", config), ("rules/moering.yml", rules)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                yaml.safe_dump(document, f)
        port = free_port()
        self.url = "http://127.0.0.1:%d" % port
        self.log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + os.path.join(folder, "prometheus.yml"),
             "--storage.tsdb.path=" + os.path.join(folder, "data"),
             "--web.listen-address=127.0.0.1:%d" % port], stdout=self.log, stderr=self.log)
        until(lambda: answers(self.url + "/-/ready"), "Prometheus to be ready")

    def get(self, api, **parameters):
        url = "%s/api/v1/%s?%s" % (self.url, api, urllib.parse.urlencode(parameters))
        try:
            return json.loads(fetch(url))["data"]
        except urllib.error.HTTPError as e:
            raise AssertionError("%s: %s" % (parameters, e.read().decode())) from e

    def series(self, query):
        return self.get("query", query=query)["result"]


# ---- cases ----

def the_page_is_well_formed(server, _):
    """promtool refuses colons in the names of metrics, so it is shown our own ones."""
    page = server.metrics()
    ours = "".join(line + "\n" for line in page.splitlines() if "moering_" in line.split("{")[0])
    run("promtool", "check", "metrics", input=ours)
    assert len(page.splitlines()) < 20000, "never a series per expert"


def every_name_is_on_the_page(server, _):
    page = server.metrics()
    there = set(re.findall(r"^([a-zA-Z_:][\w:]*)", page, re.M))
    asked = set()
    for query in board_queries() + vllm_queries():
        asked |= metric_names(query)
    with open(path("prometheus", "rules", "moering.yml"), encoding="utf-8") as f:
        recorded = {r["record"] for g in yaml.safe_load(f)["groups"] for r in g["rules"]
                    if "record" in r}
    for group in documents("prometheus", "rules", "moering.yml")[0]["groups"]:
        for rule in group["rules"]:
            text = rule["expr"]
            for name in recorded:
                text = text.replace(name, "")
            asked |= metric_names(text)
    missing = sorted(asked - there)
    assert not missing, "not on /metrics: %s" % ", ".join(missing)


def prometheus_scrapes_it(_, prometheus):
    target, = prometheus.get("targets")["activeTargets"]
    assert target["health"] == "up" and not target["lastError"], target


def empty(prometheus, queries):
    return [q for q in queries if not prometheus.series(concrete(q, model_name=NAME))]


def the_vllm_board_is_answered(_, prometheus):
    names = prometheus.get("label/model_name/values", **{"match[]": '{__name__=~"vllm:.*"}'})
    assert names == [NAME], names
    assert not empty(prometheus, vllm_queries())


def our_board_is_answered(_, prometheus):
    queries = board_queries()
    nothing = empty(prometheus, queries)
    assert not nothing, "%d of %d: %s" % (len(nothing), len(queries), "\n".join(nothing))


def the_figures_make_sense(server, prometheus):
    def value(query):
        result, = prometheus.series(query)
        return float(result["value"][1])
    assert value('sum(vllm:request_success_total{finished_reason="stop"})') > 0
    assert value('sum(vllm:request_success_total{finished_reason="length"})') > 0
    assert value("sum(vllm:generation_tokens_total)") > value("sum(vllm:request_success_total)")
    hits = value('sum(moering_expert_cache_hits_total{tier="device"})')
    misses = value('sum(moering_expert_cache_misses_total{tier="device"})')
    assert hits > misses > 0, (hits, misses)
    assert value('sum(moering_expert_resident_bytes{tier="device"})') > 0
    ttft = concrete("histogram_quantile(0.5, sum by(le) (rate("
                    "vllm:time_to_first_token_seconds_bucket[$__rate_interval])))")
    assert 0 < value(ttft) < 30


def rules_are_evaluated(_, prometheus):
    groups = prometheus.get("rules")["groups"]
    rules = [r for g in groups for r in g["rules"]]
    assert len(rules) == sum(len(g["rules"]) for g in documents("prometheus", "rules",
                                                                "moering.yml")[0]["groups"])
    for rule in rules:
        assert rule["health"] == "ok", rule
        if rule["type"] == "recording":
            assert prometheus.series(rule["name"]), rule["name"]
    firing = [a for a in prometheus.get("alerts")["alerts"] if a["state"] == "firing"]
    assert not firing, firing


def main():
    for tool in ("prometheus", "promtool"):
        if not shutil.which(tool):
            skip("%s is missing (Debian package prometheus)" % tool)
    server = Server()
    stop = threading.Event()
    worker = threading.Thread(target=server.work, args=(stop,), daemon=True)
    prometheus = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            prometheus = Prometheus(server.address, folder)
            worker.start()
            time.sleep(SCRAPES)
            return run_cases([the_page_is_well_formed, every_name_is_on_the_page,
                              prometheus_scrapes_it, the_vllm_board_is_answered,
                              our_board_is_answered, the_figures_make_sense, rules_are_evaluated],
                             server, prometheus)
    finally:
        stop.set()
        if worker.is_alive():
            worker.join(60)
        for process in (prometheus.process if prometheus else None, server.process):
            if process:
                process.terminate()
                process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
