#!/usr/bin/env python3
"""The table of the predictive ring: what eviction, prefetch and load prediction reach, each figure
beside its bound, as Markdown.

    tests/bench/ring_table.py BUILD TRACE... [--out tests/bench/RING.md] [--date 2026-01-31]
                              [--max-trace-tokens N] [--jobs N] [--sections eviction,prefetch,...]

BUILD is a folder of a release build; its bin/moering, bin/moering-client and
tests/bench/bench_policy are run. The traces are not part of the repository; the table names them
by their file names. The load log and the live runs are of the built-in model. Sections 1 to 4 come
out the same each time on the same build and traces; 5 and 6 depend on the machine: on its speed,
on when requests arrive and pages land.

Needs Python's standard library only; instruction counts need valgrind and are left out without it.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = os.path.join(ROOT, "deploy/models/tiny")
SECTIONS = ("eviction", "prefetch", "batches", "loads", "overhead", "live")
SHUFFLES = ("none", "tokens", "layers")
SIZES = ("12.5%", "25%", "50%")
POLICIES = ("learned", "round", "lru", "lfu", "forecast", "random")
# Least shares of Belady's hit rate on the trace that they were set for, and least points above LRU
# on every other one.
SHARES = {"gpt-oss-20b": {"12.5%": 0.80, "25%": 0.88, "50%": 0.97}}
POINTS = {"12.5%": 10, "25%": 10, "50%": 0}
# The simulated link: one page takes PAGE_US; the step is made so long that it is RATIO layers.
PAGE_BYTES, LINK_GBPS, PAGE_US = 10_000_000, 10, 1000.0
RATIOS = (0.5, 2)
HORIZONS = (1, 10, 100, 1000, 2000)
PREDICTORS = ("last", "window", "ewma", "arima", "lstm")
STORIES = ("Ada 1 went to", "Once upon a time", "Ben has a red ball and", "The fox saw",
           "At night the old", "Tom and Mia ran")


# ---- Markdown ----

def percent(x, digits=1):
    return "–" if x is None else "%.*f" % (digits, 100 * x)


def points(x):
    return "–" if x is None else "%+.2f" % (100 * x)


def judged(text, good):
    """A figure that misses its bound says so."""
    return text if good else text + " **missed**"


def table(head, rows):
    """A Markdown table; columns after the first that hold numbers are set to the right."""
    def numbers(i):
        return i and all(re.match(r"[-+–≥≤<(0-9]", str(r[i])) for r in rows)
    lines = [head, ["---:" if numbers(i) else "---" for i in range(len(head))], *rows]
    for row in rows:
        if len(row) != len(head):
            raise ValueError("%d cells under %d heads: %r" % (len(row), len(head), row))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def prose(text, *values):
    """A paragraph of Markdown, broken anew after its figures have been filled in."""
    return textwrap.fill(" ".join((text % values if values else text).split()), 100) + "\n"


# ---- running things ----

class Programs:
    """The programs of a build, many replays at once, each kind of run done once."""

    def __init__(self, args):
        self.moering = os.path.join(args.build, "bin/moering")
        self.client = os.path.join(args.build, "bin/moering-client")
        self.bench_policy = os.path.join(args.build, "tests/bench/bench_policy")
        self.max_trace_tokens = args.max_trace_tokens
        self.pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
        self.begun = {}

    @staticmethod
    def output(*command):
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit("%s\nended with %d: %s" % (" ".join(map(str, command)), done.returncode,
                                                done.stderr[-2000:]))
        return done.stdout

    def json(self, *command):
        return json.loads(self.output(*command))

    def replay(self, trace, *flags):
        """A future of the JSON of one replay."""
        key = (trace, *map(str, flags))
        if key not in self.begun:
            limit = ("--max-trace-tokens", self.max_trace_tokens) if self.max_trace_tokens else ()
            self.begun[key] = self.pool.submit(self.json, self.moering, "replay", *key, *limit,
                                               "--json", "--log-level", "error")
        return self.begun[key]


class Trace:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        with open(path, "rb") as f:
            head = json.loads(f.readline())
        self.model, self.layers = head["model"], head["layers"]
        self.experts, self.top_k, self.tokens = head["experts"], head["top_k"], head["tokens"]


# ---- 1 and 3: eviction ----

def ask_eviction(programs, trace, *flags, policies=POLICIES):
    return {(size, p): programs.replay(trace.path, "--device-pages", size, "--policy", p, *flags)
            for size in SIZES for p in policies}


def eviction_row(trace, shuffle, size, got):
    learned = got["learned"]
    share, belady = learned["belady_share"], learned["belady_hit_rate"]
    lru = max(got["lru"]["hit_rate"], learned["plain_lru_hit_rate"])
    over = learned["hit_rate"] - lru
    least_share = SHARES.get(trace.model, {}).get(size) if shuffle == "none" else None
    # Shuffled traces and the one with shares of its own ask for no loss only.
    least = 0 if shuffle != "none" or trace.model in SHARES else POINTS[size] / 100
    return [size, *(percent(got[p]["hit_rate"]) for p in POLICIES[:3]),
            percent(learned["plain_lru_hit_rate"]), *(percent(got[p]["hit_rate"])
                                                      for p in POLICIES[3:]),
            percent(belady), judged(percent(share), least_share is None or share >= least_share),
            "–" if least_share is None else "≥ %.0f" % (100 * least_share),
            judged(points(over), over >= least), "≥ %+.0f" % (100 * least), points(belady - lru)]


def eviction_section(programs, traces):
    asked = {(t, s): ask_eviction(programs, t, "--shuffle", s) for t in traces for s in SHUFFLES}
    yield "## 1. Eviction: hit rate, % of requests\n"
    yield prose("""
        Cold start, no pre-training, one token a step, prefetch off. "lru" runs in this engine
        (what a layer hits is pinned before its misses move a page); "plain LRU" takes requests
        one by one. "Over LRU": learned minus the better of both, in points; how far Belady is
        over it stands beside. Ten points are meant for whole workloads; a trace of one prompt
        leaves less room. Shuffled: whole tokens dealt out anew, or each layer by itself.""")
    for trace in traces:
        for shuffle in SHUFFLES:
            rows = []
            for size in SIZES:
                got = {p: asked[trace, shuffle][size, p].result() for p in POLICIES}
                rows.append(eviction_row(trace, shuffle, size, got))
            yield "**%s**, %d x %d experts, top-%d, %d tokens%s\n" % (
                trace.name, trace.layers, trace.experts, trace.top_k, got["learned"]["tokens"],
                "" if shuffle == "none" else ", shuffled by " + shuffle)
            yield table(["pages", "learned", "round", "lru", "plain LRU", "lfu", "forecast",
                         "random", "Belady", "learned / Belady", "bound", "over LRU", "bound",
                         "Belady over LRU"], rows)


def batches_section(programs, traces):
    policies = POLICIES[:3]
    asked = {(t, b): ask_eviction(programs, t, "--batch", b, policies=policies)
             for t in traces for b in (4, 16)}
    yield "## 3. Batches: hit rate, % of requests\n"
    yield prose("""
        Requests of a trace interleaved, so many tokens a step; a request is one expert of one
        layer in one step. A trace of one prompt has no batches and is not shown.""")
    rows = []
    for trace in traces:
        for batch in (4, 16):
            for size in SIZES:
                got = {p: asked[trace, batch][size, p].result() for p in policies}
                learned = got["learned"]
                if learned["steps"] == learned["tokens"]:
                    continue
                over = learned["hit_rate"] - max(got["lru"]["hit_rate"],
                                                 learned["plain_lru_hit_rate"])
                rows.append([trace.name, batch, size, *(percent(got[p]["hit_rate"])
                                                        for p in policies),
                             percent(learned["plain_lru_hit_rate"]),
                             percent(learned["belady_hit_rate"]),
                             percent(learned["belady_share"]),
                             judged(points(over), over >= 0), "≥ +0"])
    yield table(["trace", "batch", "pages", "learned", "round", "lru", "plain LRU", "Belady",
                 "learned / Belady", "over LRU", "bound"], rows)


# ---- 2: prefetch ----

def prefetch_section(programs, traces):
    sizes = SIZES[1:]
    asked = {}
    for t in traces:
        for shuffle in SHUFFLES:
            for ratio in RATIOS:
                link = ("--page-bytes", PAGE_BYTES, "--link-gbps", LINK_GBPS, "--step-us",
                        t.layers * PAGE_US / ratio)
                for size in sizes:
                    for mode in ("off", "auto"):
                        asked[t, shuffle, ratio, size, mode] = programs.replay(
                            t.path, "--device-pages", size, "--shuffle", shuffle, *link,
                            "--prefetch", mode)
    yield "## 2. Prefetch in the link simulation\n"
    yield prose("""
        Policy `learned`, one token a step, a link of %d GB/s and pages of %d MB: %d µs a page.
        Page time is in layers' compute. Belady copies on demand and knows the future of the same
        trace. Bytes: with prefetch / without. Precision: prefetched pages that were used.
        Hidden: share of the stall without prefetch that prefetch took away. Slower: time per
        token with prefetch over that without.""", LINK_GBPS, PAGE_BYTES // 10**6, PAGE_US)
    for shuffle in SHUFFLES:
        rows = []
        for t in traces:
            for ratio in RATIOS:
                for size in sizes:
                    off, on = (asked[t, shuffle, ratio, size, m].result() for m in ("off", "auto"))
                    rows.append([t.name, "%g" % ratio, size, *prefetch_cells(shuffle, off, on)])
        yield ("**As recorded**\n" if shuffle == "none" else "**Shuffled by %s**\n" % shuffle)
        yield table(["trace", "page time", "pages", "stall off, µs/token", "stall on",
                     "bound: Belady", "bytes", "bound", "precision, %", "hidden, %", "slower, %",
                     "bound"], rows)


def prefetch_cells(shuffle, off, on):
    stall_off, stall_on = (x["stall_us_per_token"] for x in (off, on))
    belady = off["belady_stall_us_per_token"]
    bytes_ratio = on["bytes"] / off["bytes"]
    prefetch, slower = on["prefetch"], off["tokens_per_s"] / on["tokens_per_s"] - 1
    recorded = shuffle == "none"
    return ["%.0f" % stall_off, judged("%.0f" % stall_on, not recorded or stall_on < belady),
            ("< %.0f" if recorded else "(%.0f)") % belady,
            judged("%.3f" % bytes_ratio, bytes_ratio <= 1.1), "≤ 1.1",
            percent(prefetch["used"] / prefetch["issued"] if prefetch["issued"] else None),
            percent(1 - stall_on / stall_off if stall_off else None),
            judged(percent(slower, 2), slower <= 0.01), "≤ 1"]


# ---- 4: load prediction ----

def loads_section(programs, _):
    with open(os.path.join(TINY, "config.json")) as f:
        top_k = json.load(f)["num_experts_per_tok"]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as log:
        log.write(programs.output(sys.executable,
                                  os.path.join(ROOT, "tests/models/routing_log_to_jsonl.py"),
                                  os.path.join(TINY, "routing_log.npz")))
        log.flush()
        r = programs.json(programs.moering, "trace", "predict", log.name, "--experts-per-token",
                          top_k, "--horizons", ",".join(map(str, HORIZONS)), "--json")
    yield "## 4. Load prediction on the training log of the built-in model\n"
    yield prose("""
        In the terms of arXiv 2404.16914: %d iterations, %d layers x %d experts, top-%d; window
        %d, asked every %d iterations. Cells are mean error ratio / its sampling floor, %%: the
        floor is the bound, what the draw of the tokens alone leaves to a forecast that knows the
        shares (engine/replay/load_report.h). "Stable": forecasts made while the detector called
        the layer stable. "Held out": made from iteration %d on, whatever the state; the LSTM (%d
        units) was trained on the %d iterations before and on none of those. It is scored on held
        out iterations only, in both parts. –: the log ends before such a forecast can be
        scored.""",
                r["ticks"], r["layers"], r["experts"], r["top_k"], r["window"], r["stride"],
                r["held_out_from"], r["lstm"]["units"], r["lstm"]["ticks"])
    layers = [s["layer"] for s in r["states"]]
    yield table(["layer", *layers], [
        ["stable at iteration", *(s["stable_tick"] if s["stable_tick"] is not None else "never"
                                  for s in r["states"])],
        ["changes of state", *(s["changes"] for s in r["states"])],
        ["at the end", *("stable" if s["stable_at_end"] else "transient" for s in r["states"])]])
    for part, title in (("stable", "While stable"), ("held-out", "Held out")):
        cells = {(c["horizon"], c["predictor"], c["layer"]): c for c in r["cells"]
                 if c["part"] == part}
        rows = [loads_row(cells, h, p, layers) for h in HORIZONS for p in PREDICTORS]
        yield "**%s**\n" % title
        yield table(["ahead", "predictor", *("layer %d" % n for n in layers), "all layers",
                     "forecasts"], rows)
    yield prose("""
        A planted switch of regime is flagged within two ticks and settled within window + 3:
        tests/engine/predict/state_test.cc.""")


def loads_row(cells, horizon, predictor, layers):
    of = [cells.get((horizon, predictor, n)) for n in layers]
    scored = sum(c["scored"] for c in of if c)
    def cell(error, floor):
        return "%.2f / %.2f" % (100 * error, 100 * floor)
    def mean(key):
        return sum(c[key] * c["scored"] for c in of if c) / scored
    return [horizon, predictor, *(cell(c["error"], c["floor"]) if c and c["scored"] else "–"
                                  for c in of),
            cell(mean("error"), mean("floor")) if scored else "–", scored]


# ---- 5: overhead ----

PAGING = re.compile(r"(^|/)(engine/(paging|predict)/[^/]+|memory/[^/]+|"
                    r"engine/moe/router_lookahead\.c|engine/replay/regret\.c)$")


def read_callgrind(path):
    """(instructions in all, in calls from other code into paging, {function: with its callees}).

    The format: a line "fl=(1) path" or "fn=(2) name" gives a name and its number when it first
    comes, the number alone later; a "calls=" line is followed by one of position and cost, callees
    included.
    """
    names, total, entered, inclusive = {}, 0, 0, {}
    outside, current, callee_file, callee, awaits_cost = True, "", None, None, False

    def name(text):
        number, _, rest = text.partition(" ")
        if rest:
            names[number] = rest
        return names.get(number, number)

    with open(path) as f:
        for line in f:
            key, is_key, value = line.rstrip("\n").partition("=")
            if is_key and key in ("fl", "fi", "fe", "cfi", "cfl"):
                file = name("f" + value)
                if key[0] == "c":
                    callee_file = file
                else:
                    current = file
            elif is_key and key == "fn":
                name("n" + value)
                outside = not PAGING.search(current)
            elif is_key and key == "cfn":
                callee = name("n" + value)
            elif is_key and key == "calls":
                awaits_cost = True
            elif line.startswith("totals:"):
                total = int(line.split()[1])
            elif awaits_cost:
                cost = int(line.split()[1])
                inclusive[callee] = inclusive.get(callee, 0) + cost
                if outside and PAGING.search(callee_file or current):
                    entered += cost
                awaits_cost, callee_file = False, None
    return total, entered, inclusive


def count_instructions(programs, folder, slots, stream):
    path = os.path.join(folder, "callgrind.%s.%s" % (slots.rstrip("%"), stream))
    programs.output("valgrind", "--tool=callgrind", "--callgrind-out-file=" + path,
                    "--toggle-collect=engine_step", programs.moering, "run", TINY, "-p",
                    STORIES[0], "-n", 256, "--ignore-eos", "--seed", 1, "--json", "--threads", 1,
                    "--isa", "avx2", "--device-experts", slots, "--stream-layers", stream,
                    "--log-level", "error")
    return read_callgrind(path)


def share_rows(programs, folder):
    pieces = ("pager_begin_step", "pager_request", "pager_next", "pager_release", "pager_end_step",
              "router_lookahead_tell", "policy_run", "policy_victim", "mover_stream")
    cases = (("100%", "auto"), ("50%", "auto"), ("50%", "off"))
    runs = list(programs.pool.map(lambda c: count_instructions(programs, folder, *c), cases))
    for (size, stream), (total, entered, inclusive) in zip(cases, runs):
        share = entered / total
        bound = "< 3" if size == "100%" else "–"
        yield [size, stream, judged(percent(share, 2), bound == "–" or share < 0.03), bound,
               *(percent(inclusive.get(p, 0) / total, 2) for p in pieces)]
    yield pieces


def overhead_section(programs, traces):
    yield "## 5. Overhead\n"
    if os.path.exists(programs.bench_policy):
        bench = programs.json(programs.bench_policy)
        bound = bench["bound_ns"] / 1000
        yield prose("""
            Policy, predictors and planner per run of a layer, µs (`bench_policy`: medians over
            %d tokens, a ring of a quarter of the pages; with prefetch all predictors learn and
            two layers are looked ahead).""", bench["tokens"])
        yield table(["layers x experts, top-k", "prefetch", "run", "victims", "lookahead", "all",
                     "all, 90th percentile", "bound", "state, MiB"],
                    [["%d x %d, %d" % (c["layers"], c["experts"], c["top_k"]),
                      "on" if c["prefetch"] else "off",
                      *("%.1f" % (c[k] / 1000) for k in ("run_ns", "victims_ns", "lookahead_ns")),
                      judged("%.1f" % (c["all_ns"] / 1000), c["all_ns"] < bench["bound_ns"]),
                      "%.1f" % (c["all_p90_ns"] / 1000), "< %.0f" % bound,
                      "%.1f" % (c["bytes"] / 2**20)] for c in bench["cases"]])
    else:
        yield "bench_policy is not built: no times per layer.\n"
    if shutil.which("valgrind"):
        with tempfile.TemporaryDirectory() as folder:
            *rows, pieces = share_rows(programs, folder)
        yield prose("""
            Share of the instructions of a step that paging takes, built-in model, % (callgrind:
            engine_step of one sequence of 256 tokens on one thread, AVX2, prefetch auto; calls
            into engine/paging, engine/predict, memory/, the routers ahead and live regret, with
            all they call; filling the ring is in it). The pieces hold one another: the first
            five are all of the pager. Under callgrind computing is slowed down and copying is
            not.""")
        yield table(["pages", "stream-layers", "paging", "bound", *("`%s`" % p for p in pieces)],
                    rows)
    else:
        yield "valgrind is not installed: no share of the step.\n"
    # A seed of its own, so that it is no replay of before, which ran beside others.
    largest = max(traces, key=lambda t: t.tokens)
    x = programs.replay(largest.path, "--device-pages", "25%", "--seed", 1).result()
    rate, bounded = x["decisions_per_s"] / 1e6, x["pages"] <= 768
    yield prose("""
        Replay of %s, 25 %% of %d pages, learned, nothing else running: millions of page decisions
        per second of one core %s, bound at 768 pages ≥ 1.""",
                largest.name, x["pages"], judged("%.2f" % rate, not bounded or rate >= 1))


# ---- 6: live ----

class Server:
    """`moering serve` on the built-in model and a port of its own."""

    def __init__(self, programs, *flags):
        self.client = programs.client
        self.process = subprocess.Popen(
            [programs.moering, "serve", TINY, "--grpc-port", "0", "--port", "0", "--threads", "1",
             "--stream-layers", "off", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True)
        self.address = None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            found = re.search(r"gRPC on (\S+)", line)
            if found:
                self.address = found.group(1)
                break
        if not self.address:
            sys.exit("moering serve did not listen:\n" + "".join(lines))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, number):
        Programs.output(self.client, "generate", "--connect", self.address, "--wait", 60, "-p",
                        STORIES[number], "-n", 200, "--ignore-eos", "--seed", number + 1, "--json")

    def stats(self):
        return json.loads(Programs.output(self.client, "stats", "--connect", self.address,
                                          "--json"))


def live_row(programs, size, sequences, policy, prefetch):
    with Server(programs, "--device-experts", size, "--policy", policy, "--prefetch",
                prefetch) as server:
        with concurrent.futures.ThreadPoolExecutor(sequences) as pool:
            list(pool.map(server.ask, range(len(STORIES))))
        s = server.stats()
    hits, misses = s["experts"]["hits"], s["experts"]["misses"]
    p, regret = s["prefetch"], s["regret"]
    return [size, sequences, policy, prefetch, percent(hits / (hits + misses)),
            percent(regret["hit_rate"]), percent(regret["oracle_hit_rate"]),
            percent(regret["share"]), regret["requests"],
            "%.0f" % (s["storage_bytes"] / 1024 / s["generation_tokens"]),
            p["issued"], percent(p["precision"] if p["issued"] else None)]


def live_section(programs, _):
    yield "## 6. Live: the built-in model served\n"
    yield prose("""
        Six stories of 200 tokens, temperature 1, a seed each, one after another or all at once;
        one thread, whole-layer streaming off; every row samples the same tokens. Hit rate is of
        the whole run; the window is the newest finished one of the server's own regret, with
        Belady on the same requests from the same start as the bound of copying on demand:
        prefetch can pass it.""")
    rows = [live_row(programs, size, sequences, policy, prefetch)
            for size in ("25%", "50%") for sequences in (1, 6)
            for prefetch in ("off", "auto") for policy in POLICIES[:3]]
    yield table(["pages", "sequences", "policy", "prefetch", "hit rate, %", "in the window",
                 "bound: Belady there", "share of it", "requests in the window", "KiB read/token",
                 "prefetched", "precision, %"], rows)


# ---- all of it ----

def header(programs, args):
    isa = programs.json(programs.moering, "run", TINY, "-p", "x", "-n", 0, "--json",
                        "--log-level", "error")["model"]["isa"]
    names = " ".join(os.path.basename(t) for t in args.traces)
    flags = ["--out tests/bench/RING.md"]
    flags += ["--date " + args.date] if args.date else []
    flags += ["--max-trace-tokens %d" % args.max_trace_tokens] if args.max_trace_tokens else []
    flags += ["--sections " + ",".join(args.sections)] if args.sections != list(SECTIONS) else []
    yield "# The predictive ring in figures\n"
    yield ("Printed by one command, with a release build in `BUILD` and the traces wherever they "
           "are:\n\n    tests/bench/ring_table.py BUILD %s %s\n" % (names, " ".join(flags)))
    yield "Machine: %d cores, %s.%s\n" % (len(os.sched_getaffinity(0)), isa,
                                         " Date: %s." % args.date if args.date else "")
    yield prose("""
        A figure that does not keep its bound says **missed**; nothing else is judged. "Pages" is
        the ring's share of all expert pages. Short traces flatter every policy: most of their
        misses are first uses, which only prefetch can avoid.""")


def sections(value):
    chosen = value.split(",")
    for word in chosen:
        if word not in SECTIONS:
            raise argparse.ArgumentTypeError("'%s' is none of %s" % (word, ", ".join(SECTIONS)))
    return [s for s in SECTIONS if s in chosen]


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("build", help="folder of a release build")
    ap.add_argument("traces", nargs="+", metavar="TRACE", help=".mtrace file")
    ap.add_argument("--out", help="write there instead of to standard output")
    ap.add_argument("--date", help="printed in the header")
    ap.add_argument("--max-trace-tokens", type=int, default=0, help="of each trace; default: all")
    ap.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)),
                    help="replays at once; default: one per core")
    ap.add_argument("--sections", type=sections, default=list(SECTIONS), help=",".join(SECTIONS))
    args = ap.parse_args()
    programs, traces = Programs(args), [Trace(t) for t in args.traces]
    write = {"eviction": eviction_section, "prefetch": prefetch_section, "batches": batches_section,
             "loads": loads_section, "overhead": overhead_section, "live": live_section}
    parts = list(header(programs, args))
    for section in args.sections:
        print(section, file=sys.stderr, flush=True)
        parts += write[section](programs, traces)
    text = "\n".join(parts)
    if args.out:
        with open(args.out, "w") as f:
            f.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
