#!/usr/bin/env python3
"""Collects what a run left in a folder into one JSON, and prints the table of it.

    results.py DIR [--json FILE] [--markdown FILE]

DIR holds any of: machine.json, phases.jsonl, figures*.jsonl (bench_gpu.c), peer*.jsonl
(peer_transformers.py), ctest.xml, sanitizer.jsonl. What is missing is 'not measured' in the table,
which always has the same rows: an empty folder makes the table of a project that has met no GPU yet.
Goals stand beside figures; a missed one is marked. Standard library only."""

import argparse
import json
import os
import xml.etree.ElementTree as ElementTree

MODELS = [("olmoe", "OLMoE-1B-7B, all 16 layers"), ("qwen3", "Qwen3-30B-A3B, 12 of 48 layers"),
          ("mixtral", "Mixtral-8x7B, 6 of 32 layers")]
BATCHES = (1, 8, 32)
SHARES = ((50, 75), (25, 60), (12.5, 45))  # % of experts on the device, goal in % of resident
PROMPTS = (512, 2048, 8192, 16384)
NOT_MEASURED = "not measured"


def lines(folder, begin):
    """The JSON objects, one per line, of the files whose names begin so; a line that a kill cut short
    is left out."""
    found = []
    for name in sorted(n for n in os.listdir(folder) if n.startswith(begin)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            for line in f:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    pass
    return found


def checks(folder):
    """Counts of ctest's report, and the names of what failed."""
    path = os.path.join(folder, "ctest.xml")
    if not os.path.exists(path):
        return None
    cases = ElementTree.parse(path).getroot().iter("testcase")
    result = {"passed": 0, "failed": []}
    for case in cases:
        if case.get("status") == "run":
            result["passed"] += 1
        else:  # "fail", or "notrun": it was not built
            result["failed"].append("%s (%s)" % (case.get("name"), case.get("status")))
    return result


def collect(folder):
    machine = lines(folder, "machine.json")
    phases = {p["phase"]: p for p in lines(folder, "phases.jsonl")}  # the last word of each
    results = {"machine": machine[0] if machine else None, "phases": list(phases.values()),
               "checks": checks(folder), "sanitizer": lines(folder, "sanitizer.jsonl"),
               "models": {name: {"figures": {}, "peer": {}} for name, _ in MODELS}, "left_out": []}
    for kind, name in (("figures", "figures"), ("peer", "peer")):
        for line in lines(folder, name):
            if "left_out" in line:
                results["left_out"].append(line)
            elif "figure" in line:
                model = results["models"].setdefault(line["model"], {"figures": {}, "peer": {}})
                model[kind][line["figure"]] = {k: v for k, v in line.items()
                                               if k not in ("model", "figure")}
    return results


# ---- the table ----

def percent(share):
    return "%.0f %%" % (100 * share) if share < 9.995 else "> 999 %"


def ratio_of(a, b):
    return a / b if a is not None and b else None


class Table:
    """Rows of figure, value, floor, share of it, goal."""

    def __init__(self):
        self.rows = []

    def row(self, name, value=None, beside="", share=None, goal=None):
        """share and goal as fractions; a goal not reached is marked."""
        goal_text = "" if goal is None else percent(goal)
        if value is None:
            self.rows.append([name, NOT_MEASURED, "", "", goal_text])
            return
        mark = " **missed**" if goal is not None and share is not None and share < goal else ""
        share_text = "" if share is None else percent(share)
        self.rows.append([name, value, beside, share_text + mark, goal_text])

    def text(self):
        head = ["figure", "measured", "beside it", "share", "goal"]
        rows = [head, ["---"] * len(head)] + self.rows
        return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def split(figure, floors):
    """Where a step's time went, as far as the counters tell."""
    link = floors.get("copy_gb_s")
    busy = "%.2f" % (figure["copied_mb"] / link) if link else "?"
    return ("step %.2f ms: compute %.2f, stall %.2f, experts on the host %.2f, asking %.2f; link busy "
            "%s; %.1f misses, %.1f of them on the host, %.1f MB copied; hit rate %s") % (
                figure["step_ms"], figure["device_wait_ms"], figure["stall_ms"],
                figure["host_experts_ms"], figure["asking_ms"], busy,
                figure["misses"], figure["at_host"], figure["copied_mb"],
                percent(figure.get("hit_rate", 1)))


def rows_of_floors(table, figures):
    f = figures.get("floors", {})
    for key, name, unit in (("copy_gb_s", "host to device, page-locked", "GB/s"),
                            ("read_gb_s", "reading device memory", "GB/s"),
                            ("launch_us", "an empty kernel", "us"),
                            ("gemm_tflops", "bf16 GEMM 8192^3", "TFLOP/s"),
                            ("gemm_attention_tflops", "bf16 GEMM of q for 2048 tokens", "TFLOP/s"),
                            ("gemm_expert_tflops", "bf16 GEMM of one expert's share", "TFLOP/s")):
        table.row("floor: " + name, "%.4g %s" % (f[key], unit) if key in f else None)


def rows_of_decode(table, figures):
    floors = figures.get("floors", {})
    floor = floors.get("read_gb_s")
    for batch in BATCHES:
        f = figures.get("decode.resident.b%d" % batch)
        table.row("decode, resident, batch %d" % batch,
                  f and "%.0f tokens/s; %s" % (f["tokens_per_s"], split(f, floors)),
                  f and "%.0f GB/s of weights and KV" % f["read_gb_s"],
                  f and ratio_of(f["read_gb_s"], floor), 0.70 if batch == 1 else None)
    for how in ("auto", "device"):
        for share, goal in SHARES:
            f = figures.get("decode.%s.%g" % (how, share))
            table.row("decode, %g %% of the experts, placement %s" % (share, how),
                      f and "%.0f tokens/s; %s" % (f["tokens_per_s"], split(f, floors)),
                      f and "resident %.0f tokens/s" % f["resident_tokens_per_s"],
                      f and f["ratio"], goal / 100 if how == "auto" else None)
    f = figures.get("decode.device.12.5", {})
    floor = floors.get("copy_gb_s")
    rate = f.get("copied_gb_per_stall_s")
    table.row("copy while misses are outstanding", rate and "%.1f GB/s of stall" % rate,
              "%.1f GB/s of all time" % f["copied_gb_per_s"] if rate else "",
              ratio_of(rate, floor), 0.90)


def rows_of_prefill(table, figures):
    floor = figures.get("floors", {}).get("gemm_tflops")
    for tokens in PROMPTS:
        f = figures.get("prefill.%d" % tokens)
        table.row("prefill %d, resident" % tokens, f and "%.0f tokens/s" % f["tokens_per_s"],
                  f and "%.0f TFLOP/s" % f["tflops"], f and ratio_of(f["tflops"], floor))
    for tokens in PROMPTS:
        f = figures.get("prefill.quarter.%d" % tokens)
        rows = f and f.get("break_even_rows")
        hidden = rows and tokens > rows
        table.row("prefill %d, a quarter of the experts" % tokens,
                  f and "%.0f tokens/s; stall %.1f of %.1f ms a step" % (
                      f["tokens_per_s"], f["stall_ms"], f["step_ms"]),
                  "T* %.0f tokens" % rows if rows else "", f and f["ratio"],
                  0.90 if hidden else None)
    for key, name in (("decode.b1", "decode, batch 1"), ("prefill", "prefill")):
        f = figures.get("exact." + key)
        table.row("deterministic, %s" % name, f and "%.0f tokens/s" % f["tokens_per_s"],
                  "of the default" if f else "", f and f["ratio"])


def rows_of_peer(table, figures, peer):
    for key, name, ours in (("decode.b1", "decode, batch 1", "decode.resident.b1"),
                            ("decode.b8", "decode, batch 8", "decode.resident.b8"),
                            ("prefill.2048", "prefill 2048", "prefill.2048"),
                            ("offload.decode.b1", "decode, batch 1, half offloaded",
                             "decode.auto.50")):
        f, o = peer.get(key), figures.get(ours)
        table.row("transformers: " + name, f and "%.1f tokens/s" % f["tokens_per_s"],
                  "ours %.0f tokens/s" % o["tokens_per_s"] if f and o else "",
                  ratio_of(o["tokens_per_s"], f["tokens_per_s"]) if f and o else None)


def heading(results):
    machine = results["machine"]
    if not machine:
        return "Not measured yet: no run on a GPU has been committed.\n"
    return "%s; %s, driver %s; commit %s; %s\n" % tuple(
        machine.get(k) or "unknown" for k in ("date", "gpu", "driver", "commit", "host"))


def correctness(results):
    table, c = Table(), results["checks"]
    table.row("tests on the device", c and "%d passed, %d failed%s" % (
        c["passed"], len(c["failed"]), ": " + ", ".join(c["failed"]) if c["failed"] else ""))
    for tool in ("memcheck", "racecheck"):
        runs = [s for s in results["sanitizer"] if s["tool"] == tool]
        bad = [s["test"] for s in runs if s["status"] != "clean"]
        text = "%d tests clean%s" % (len(runs) - len(bad),
                                     "; not: " + ", ".join(bad) if bad else "") if runs else None
        if runs and all(s["status"] == "unusable" for s in runs):
            text = "the tool does not work on this machine"
        table.row("compute-sanitizer " + tool, text)
    return table.text()


def markdown(results):
    out = ["# Figures on a GPU\n",
           "Written by `results.py`; README.md says what each row means. Medians of rounds.\n",
           heading(results), "## Correctness\n", correctness(results)]
    for name, title in MODELS:
        model, table = results["models"][name], Table()
        rows_of_floors(table, model["figures"])
        rows_of_decode(table, model["figures"])
        rows_of_prefill(table, model["figures"])
        rows_of_peer(table, model["figures"], model["peer"])
        out += ["## %s\n" % title, table.text()]
    left = ["- %s: %s (%s)" % (line["model"], line["figure"], line["left_out"])
            for line in results["left_out"]]
    left += ["- phase %s: %s" % (p["phase"], p["status"]) for p in results["phases"]
             if p["status"] != "done"]
    if left:
        out += ["## Left out\n", "\n".join(left) + "\n"]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    args = parser.parse_args()
    results = collect(args.folder)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
            f.write("\n")
    if args.markdown:
        with open(args.markdown, "w", encoding="utf-8") as f:
            f.write(markdown(results))
    else:
        print(markdown(results), end="")


if __name__ == "__main__":
    main()
