"""A server that says what a test wants: the dashboard's files from the source tree, figures and maps as
server/ui/FORMATS.md has them, all chosen by the test. For states that a real server is seldom in (loading,
a key wanted, restarted, an answer that breaks off) and for cells of every heat.
"""
import base64
import json
import os
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UI = os.path.join(ROOT, "server", "ui")
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
MODEL = "a-model"


def histogram(bounds, counts):
    return {"bounds_s": bounds, "counts": counts, "count": sum(counts), "sum_s": 1.0}


def leb128(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def changes(old, new):
    """The delta from one map to another, as FORMATS.md has it."""
    out, last = bytearray(), -1
    for i, (a, b) in enumerate(zip(old, new)):
        if a != b:
            out += leb128(i - last - 1) + bytes([b])
            last = i
    return bytes(out)


class StandIn:
    def __init__(self, layers, experts, cells):
        self.layers, self.experts = layers, experts
        self.cells = bytes(cells)
        self.key = None          # wanted
        self.keys_seen = []
        self.state = "ready"
        self.uptime_s = 100.0
        self.generation = 0      # tokens so far
        self.chunks = []         # the answer to a prompt; a number: seconds of silence
        self.asked = []          # bodies of prompts
        self.paths = []
        self.viewers = []        # queues of texts
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # ---- what the test does ----

    def set_cells(self, cells, delta=True):
        with self.lock:
            old, self.cells = self.cells, bytes(cells)
            text = self.delta(old) if delta else self.map()
            for viewer in self.viewers:
                viewer.put(text)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ---- what it says ----

    def map(self):
        return "event: map\ndata: %s\n\n" % json.dumps({
            "layers": self.layers, "experts": self.experts, "tick": 1,
            "now_ms": time.monotonic() * 1e3, "cells": base64.b64encode(self.cells).decode()})

    def delta(self, old):
        return "event: delta\ndata: %s\n\n" % json.dumps({
            "tick": 2, "now_ms": time.monotonic() * 1e3,
            "changes": base64.b64encode(changes(old, self.cells)).decode()})

    def stats(self):
        ready = self.state == "ready"
        now_ms = time.monotonic() * 1e3
        latency = {"ttft": histogram([0.1, 1.0], [0, 10, 0]), "itl": histogram([0.01, 0.1], [100, 0, 0]),
                   "tpot": histogram([0.1], [10, 0]), "e2e": histogram([1.0], [10, 0]),
                   "queue": histogram([1.0], [10, 0])}
        out = {"object": "moering.stats", "version": "1.2.3", "now_ms": now_ms,
               "uptime_s": self.uptime_s, "state": self.state, "error": None,
               "loading": {"phase": "experts", "progress": 0.41} if self.state == "loading" else None,
               "requests": {"running": 3, "waiting": 2, "finished": 10, "cancelled": 0, "failed": 1,
                            "rejected": 0, "preemptions": 0},
               "tokens": {"prompt": 1000, "generation": self.generation, "prefix_queries": 1000,
                          "prefix_hits": 400}, "latency": latency}
        out.update(self.engine() if ready else dict.fromkeys(
            "model engine kv tiers experts oracle prefetch foresight placement stream links stalls "
            "layers".split()))
        return out

    def engine(self):
        n = self.layers
        on = [[sum(c >> 6 == t for c in self.cells[layer * self.experts:(layer + 1) * self.experts])
               for layer in range(n)] for t in range(3)]
        each = {k: [0] * n for k in ("evictions", "prefetch_issued", "prefetch_used", "prefetch_wasted")}
        pages = n * self.experts
        return {
            "model": {"name": MODEL, "architecture": "qwen3_moe", "layers": n, "experts": self.experts,
                      "top_k": 4, "parameters": 30500000000, "active_parameters": 3300000000,
                      "weight_dtype": "Q4_K", "backend": "cpu avx2, 2 threads", "device": None,
                      "max_model_len": 4096, "max_num_seqs": 8, "pages": pages, "page_bytes": 1000000},
            "engine": {"steps": 100, "tokens": 1000, "step_ms": 1000.0, "stall_ms": 100.0,
                       "device_wait_ms": 0.0, "host_experts_ms": 0.0, "page_ms": None, "layer_ms": 0.4},
            "kv": {"blocks_used": 16, "blocks_idle": 20, "blocks": 64, "block_tokens": 16, "bytes": 1 << 20},
            "tiers": [{"name": "device", "slots": pages // 3, "slot_bytes": 1, "resident_pages": sum(on[2]),
                       "resident_bytes": 1},
                      {"name": "host", "slots": pages // 3, "slot_bytes": 1, "resident_pages": sum(on[1]),
                       "resident_bytes": 1}],
            "experts": {"hits": 75 * n, "misses": 25 * n, "evictions": 5},
            "oracle": {"windows": 1, "requests": 4096, "hit_rate": 0.75, "oracle_hit_rate": 0.9},
            "prefetch": {"issued": 10, "used": 6, "wasted": 3, "active": True, "profit": 0.4,
                         "threshold": 0.2},
            "foresight": {"predictor": "transition",
                          "losses": {"transition": 0.1, "previous": 0.2, "lookahead": None}},
            "placement": None, "stream": None,
            "links": [{"from": a, "to": b, "bytes": size, "peak_bytes_per_s": peak} for a, b, size, peak in
                      (("storage", "host", 10**9, None), ("storage", "device", 0, None),
                       ("host", "device", 10**9, 2.5e10))],
            "stalls": {"bounds_s": [0.001], "counts": [1, 0]},
            "layers": {"device": dict(each, hits=[75] * n, misses=[25] * n, resident=on[2]),
                       "host": {"hits": [1] * n, "misses": [1] * n, "evictions": [0] * n, "resident": on[1]},
                       "prefill": {"state": [None] * n, "ticks": [0] * n, "cv": [None] * n},
                       "decode": {"state": ["stable"] * (n - 1) + ["transient"], "ticks": [3] * n,
                                  "cv": [0.1] * n}}}

    # ---- the wire ----

    def handler(stand_in):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, code, kind, body, **headers):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def json(self, value, code=200):
                self.reply(code, "application/json", json.dumps(value).encode())

            def refuse(self, code, message):
                self.json({"error": {"message": message, "type": "t", "param": None, "code": "c"}}, code)

            def allowed(self):
                said = self.headers.get("Authorization")
                stand_in.keys_seen.append(said)
                if stand_in.key and said != "Bearer " + stand_in.key:
                    self.refuse(401, "a key is wanted")
                    return False
                return True

            def begin(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def chunk(self, text):
                data = text.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def do_GET(self):
                path = self.path.partition("?")[0]
                stand_in.paths.append(path)
                name = "index.html" if path == "/" else path[len("/ui/"):]
                if path == "/" or path.startswith("/ui/"):
                    with open(os.path.join(UI, os.path.basename(name)), "rb") as f:
                        self.reply(200, TYPES[name.split(".")[-1]] + "; charset=utf-8", f.read(),
                                   Content_Security_Policy=POLICY)
                elif not self.allowed():
                    pass
                elif path == "/v1/stats":
                    self.json(stand_in.stats())
                elif path == "/v1/models":
                    self.json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
                elif path == "/v1/experts/stream" and stand_in.state == "ready":
                    self.follow()
                else:
                    self.refuse(404 if stand_in.state == "ready" else 503, "not now")

            def follow(self):
                news = queue.Queue()
                with stand_in.lock:
                    news.put(stand_in.map())
                    stand_in.viewers.append(news)
                self.begin()
                try:
                    while True:
                        try:
                            self.chunk(news.get(timeout=0.5))
                        except queue.Empty:
                            self.chunk(": ping\n\n")
                except OSError:
                    with stand_in.lock:
                        stand_in.viewers.remove(news)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self.allowed():
                    return
                stand_in.asked.append((self.path, json.loads(body)))
                self.begin()
                try:
                    for chunk in stand_in.chunks:
                        if isinstance(chunk, (int, float)):
                            time.sleep(chunk)
                        else:
                            self.chunk("data: %s\n\n" % (chunk if isinstance(chunk, str)
                                                         else json.dumps(chunk)))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    pass

        return Handler
