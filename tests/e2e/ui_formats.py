"""server/ui/FORMATS.md as code: does an answer have the shape that the page reads? Applied to the real server
and to the stand-in, so that neither drifts from the text nor from the other.
"""
import base64
import json
import math
import struct

INTEGER, SHARE, NUMBER, TEXT, FLAG = "integer", "share", "number", "text", "flag"


class Maybe:
    def __init__(self, shape):
        self.shape = shape


class Each: # of a list of any length
    def __init__(self, shape):
        self.shape = shape


HISTOGRAM = {"bounds_s": Each(NUMBER), "counts": Each(INTEGER), "count": INTEGER, "sum_s": NUMBER}
TIER = {"name": TEXT, "slots": INTEGER, "slot_bytes": INTEGER, "resident_pages": INTEGER,
        "resident_bytes": INTEGER}
LINK = {"from": TEXT, "to": TEXT, "bytes": INTEGER, "peak_bytes_per_s": Maybe(NUMBER)}
PHASE = {"state": Each(Maybe(TEXT)), "ticks": Each(INTEGER), "cv": Each(Maybe(NUMBER))}
ALWAYS = {
    "object": TEXT, "version": TEXT, "now_ms": NUMBER, "uptime_s": NUMBER, "state": TEXT,
    "loading": Maybe({"phase": TEXT, "progress": SHARE}), "error": Maybe(TEXT),
    "requests": dict.fromkeys("running waiting finished cancelled failed rejected preemptions".split(),
                              INTEGER),
    "tokens": dict.fromkeys("prompt generation prefix_queries prefix_hits".split(), INTEGER),
    "latency": dict.fromkeys("ttft itl tpot e2e queue".split(), HISTOGRAM),
}
ONCE_READY = {
    "model": {"name": TEXT, "architecture": TEXT, "layers": INTEGER, "experts": INTEGER, "top_k": INTEGER,
              "parameters": INTEGER, "active_parameters": INTEGER, "weight_dtype": TEXT, "backend": TEXT,
              "device": Maybe(TEXT), "max_model_len": INTEGER, "max_num_seqs": INTEGER, "pages": INTEGER,
              "page_bytes": INTEGER},
    "engine": {"steps": INTEGER, "tokens": INTEGER, "step_ms": NUMBER, "stall_ms": NUMBER,
               "device_wait_ms": NUMBER, "host_experts_ms": NUMBER, "page_ms": Maybe(NUMBER),
               "layer_ms": Maybe(NUMBER)},
    "kv": dict.fromkeys("blocks_used blocks_idle blocks block_tokens bytes".split(), INTEGER),
    "tiers": [TIER, TIER],
    "experts": dict.fromkeys("hits misses evictions".split(), INTEGER),
    "oracle": {"windows": INTEGER, "requests": INTEGER, "hit_rate": Maybe(SHARE),
               "oracle_hit_rate": Maybe(SHARE)},
    "prefetch": {"issued": INTEGER, "used": INTEGER, "wasted": INTEGER, "active": FLAG, "profit": NUMBER,
                 "threshold": NUMBER},
    "foresight": {"predictor": TEXT, "losses": dict.fromkeys("transition previous lookahead".split(),
                                                             Maybe(NUMBER))},
    "placement": Maybe({"mode": TEXT, "at_device": INTEGER, "at_host": INTEGER}),
    "stream": Maybe({"layers": INTEGER, "streamed_steps": INTEGER, "demand_steps": INTEGER}),
    "links": [LINK, LINK, LINK],
    "stalls": {"bounds_s": Each(NUMBER), "counts": Each(INTEGER)},
    "layers": {
        "device": dict.fromkeys("hits misses evictions prefetch_issued prefetch_used prefetch_wasted "
                                "resident".split(), Each(INTEGER)),
        "host": Maybe(dict.fromkeys("hits misses evictions resident".split(), Each(INTEGER))),
        "prefill": PHASE, "decode": PHASE},
}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


SCALARS = {
    INTEGER: lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 53,
    NUMBER: is_number,
    SHARE: lambda v: is_number(v) and 0 <= v <= 1,
    TEXT: lambda v: isinstance(v, str),
    FLAG: lambda v: isinstance(v, bool),
}


def wrong(value, shape, where=""):
    """What is not as it should be, as sentences."""
    if isinstance(shape, Maybe):
        return [] if value is None else wrong(value, shape.shape, where)
    if isinstance(shape, str):
        return [] if SCALARS[shape](value) else ["%s is %r, not a %s" % (where, value, shape)]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return ["%s is %r, not an object" % (where, value)]
        return [w for key, inner in shape.items() for w in (
            wrong(value[key], inner, where + "." + key) if key in value
            else ["%s.%s is missing" % (where, key)])]
    if not isinstance(value, list):
        return ["%s is %r, not a list" % (where, value)]
    inner = [shape.shape] * len(value) if isinstance(shape, Each) else shape
    if len(inner) != len(value):
        return ["%s has %d entries, not %d" % (where, len(value), len(inner))]
    return [w for i, (v, s) in enumerate(zip(value, inner)) for w in wrong(v, s, "%s[%d]" % (where, i))]


def check_histogram(h, where):
    assert len(h["counts"]) == len(h["bounds_s"]) + 1, where
    assert h["bounds_s"] == sorted(set(h["bounds_s"])), where


def check_stats(s):
    ready = s.get("state") in ("ready", "draining")
    shape = dict(ALWAYS, **(ONCE_READY if ready else {}))
    found = wrong(s, shape)
    assert not found, found
    assert s["object"] == "moering.stats"
    assert (s["loading"] is not None) == (s["state"] == "loading")
    assert (s["error"] is not None) == (s["state"] == "failed")
    for name, h in s["latency"].items():
        check_histogram(h, name)
        assert sum(h["counts"]) == h["count"], name
    if not ready:
        assert all(key in s and s[key] is None for key in ONCE_READY), "null until ready"
        return
    check_histogram(s["stalls"], "stalls")
    assert [t["name"] for t in s["tiers"]] == ["device", "host"]
    assert [(link["from"], link["to"]) for link in s["links"]] == [
        ("storage", "host"), ("storage", "device"), ("host", "device")]
    check_layers(s)


def check_layers(s):
    layers, model = s["layers"], s["model"]
    for part in filter(None, layers.values()):
        for name, column in part.items():
            assert len(column) == model["layers"], name
    for key in ("hits", "misses"):
        assert sum(layers["device"][key]) == s["experts"][key], "the sum over layers of " + key
    for tier, name in ((s["tiers"][0], "device"), (s["tiers"][1], "host")):
        if layers[name]:
            assert sum(layers[name]["resident"]) == tier["resident_pages"], name
    for phase in ("prefill", "decode"):
        for state, ticks in zip(layers[phase]["state"], layers[phase]["ticks"]):
            assert state in ("stable", "transient", None) and (state is None) == (ticks == 0), phase


def check_map(m):
    assert not wrong(m, {"object": TEXT, "layers": INTEGER, "experts": INTEGER, "tick": INTEGER,
                         "now_ms": NUMBER, "cells": Each(Each(INTEGER))})
    assert m["object"] == "moering.experts"
    assert [len(row) for row in m["cells"]] == [m["experts"]] * m["layers"]
    cells = bytes(c for row in m["cells"] for c in row)
    assert all(c >> 6 < 3 for c in cells), "there are three tiers"
    return cells


def read_binary(data):
    """(layers, experts, tick, now_ms, cells)"""
    magic, version, layers, experts, tick, now_ms = struct.unpack_from("<4sIIIQd", data)
    assert magic == b"MOEX" and version == 1 and len(data) == 32 + layers * experts
    return layers, experts, tick, now_ms, data[32:]


class MapStream:
    """Follows /v1/experts/stream from the lines of its answer."""

    def __init__(self, lines):
        self.lines = lines
        self.cells, self.tick, self.now_ms = None, -1, 0

    def next(self):
        """The kind of the next event, after it has been applied."""
        kind = None
        for line in self.lines:
            line = line.decode().rstrip("\r\n")
            if line.startswith("event:"):
                kind = line[6:].strip()
            elif line.startswith("data:"):
                self.apply(kind, json.loads(line[5:]))
                return kind
            else:
                assert not line or line.startswith(":"), line
        raise EOFError

    def apply(self, kind, news):
        assert kind in ("map", "delta"), kind
        assert news["tick"] > self.tick and news["now_ms"] >= self.now_ms, "time goes on"
        self.tick, self.now_ms = news["tick"], news["now_ms"]
        if kind == "map":
            self.cells = bytearray(base64.b64decode(news["cells"], validate=True))
            assert len(self.cells) == news["layers"] * news["experts"]
            return
        assert self.cells is not None, "a map comes first"
        changes, at, i = base64.b64decode(news["changes"], validate=True), 0, 0
        assert 0 < len(changes) <= len(self.cells), "a longer delta is a map"
        while i < len(changes):
            skip = shift = 0
            while True:
                byte = changes[i]
                i += 1
                skip |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            at += skip
            assert self.cells[at] != changes[i], "a cell that did not change"
            self.cells[at] = changes[i]
            at, i = at + 1, i + 1
